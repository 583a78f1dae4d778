#!/bin/sh
# Prints the users of redis-users.acl as lines for a Redis configuration, each with the SHA-256 digest of its password:
#     sh ops/redis-users.sh > /etc/redis/blendq-users.conf      (and there: include /etc/redis/blendq-users.conf)
# Passwords come from the environment: REDISCLI_AUTH for the default user, as for redis-cli, and REDIS_<USER>_PASSWORD
# for the others. Any sh, and sha256sum.
set -eu
LC_ALL=C

password_of() {
    if [ "$1" = default ]; then
        name=REDISCLI_AUTH
    else
        name=REDIS_$(printf %s "$1" | tr '[:lower:]' '[:upper:]')_PASSWORD
    fi
    eval "password=\${$name:-}"
    case $password in
    '' | *[!A-Za-z0-9]*)
        echo "redis-users.sh: set $name to letters and digits only, for example from openssl rand -hex 32" >&2
        exit 1
        ;;
    esac
}

line=
while read -r word rest; do
    case $word in
    '' | '#'*) ;;
    user)
        [ -z "$line" ] || echo "$line"
        password_of "$rest"
        digest=$(printf %s "$password" | sha256sum)
        line="user $rest on #${digest%% *}"
        ;;
    *) line="$line $word $rest" ;;
    esac
done <"$(dirname "$0")/redis-users.acl"
echo "$line"
