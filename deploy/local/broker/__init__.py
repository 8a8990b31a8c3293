"""The embedded broker: as much of Kafka as this house speaks, for a machine that has no other.

One node without replicas, consumer groups and transactions. What is produced lies there in order and once, and a long poll ends
at the next event. All of it is in files without a name, and goes when the broker stops. Why it is ours:
docs/decisions/why-a-broker-of-our-own.md.
"""
