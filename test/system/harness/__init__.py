"""What the system tests stand on: certificates, PostgreSQL clusters and pgcofferd, all real, on loopback, in scratch folders."""
