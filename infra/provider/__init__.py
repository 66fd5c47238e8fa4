"""The provider plugin `pulumi-resource-yiyun`."""
