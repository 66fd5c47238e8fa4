"""HTTP: pages, FHIR, the gateway's door, health."""
