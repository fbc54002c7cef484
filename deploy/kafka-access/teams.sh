#!/bin/sh
# What a team may do that subscribes to the public topics: read, in consumer groups of its own, and nothing else.
# ACLS is Kafka's own command with the way to the brokers, as "kafka-acls.sh --bootstrap-server kafka:9093 --command-config admin.properties".
set -eu

# The team `shop` reads every public topic, those to come included; its groups are shop.<application>.
$ACLS --add --allow-principal User:shop --operation Read --operation Describe --topic mail.public. --resource-pattern-type prefixed
$ACLS --add --allow-principal User:shop --operation Read --group shop. --resource-pattern-type prefixed

# The team `billing` sees what happened to messages, not whom the suppression list names.
$ACLS --add --allow-principal User:billing --operation Read --operation Describe --topic mail.public.message-events.v1
$ACLS --add --allow-principal User:billing --operation Read --group billing. --resource-pattern-type prefixed
