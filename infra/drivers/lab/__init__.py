"""The lab driver: durable records of resources, and `realise`, which makes this machine agree with them."""
