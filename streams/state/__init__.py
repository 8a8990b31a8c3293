"""The plain objects the flows keep: they know no Kafka, no Feast, and no clock but the one passed in."""
