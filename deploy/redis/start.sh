#!/bin/sh
# Starts Redis with the users of users.acl. Their passwords come from the
# environment and are written down as hashes only.
set -eu

hash() { printf %s "$1" | sha256sum | cut -c1-64; }

acl=/tmp/users.acl
umask 077
sed -e "s/SERVICE_PASSWORD_SHA256/$(hash "$REDIS_PASSWORD")/" \
	-e "s/ADMIN_PASSWORD_SHA256/$(hash "$REDIS_ADMIN_PASSWORD")/" /etc/flashsale/users.acl >"$acl"
chown redis "$acl"
exec docker-entrypoint.sh redis-server --aclfile "$acl" "$@"
