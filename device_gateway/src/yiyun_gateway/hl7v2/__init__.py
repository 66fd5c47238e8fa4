"""HL7 v2 messages: header and acknowledgement (on receipt), results (apart, by the worker)."""
