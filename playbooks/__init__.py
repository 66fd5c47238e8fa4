"""Ansible: site.yml and roles, carried in the wheel as data."""
