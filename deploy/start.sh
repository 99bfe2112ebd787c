#!/bin/sh
# start.sh [FILE ...] -- COMMAND ...: reads files of settings, as `gridsecure init` writes them, and becomes
# the command. So what is secret in them is in no list of a container's settings.
set -eu
set -a
while [ "$1" != -- ]; do
    . "$1"
    shift
done
set +a
shift
exec "$@"
