#!/bin/sh
# Runs `bff check` with the settings of a folder: bff.env, and the files of secrets.sh in it
# or in secrets/ below it. What follows goes to bff check.
#
#	deploy/check.sh /etc/wzrdcheckout --currency EUR
set -eu
dir=$(cd "${1:?the folder with bff.env}" && pwd)
shift
files=$dir
[ ! -d "$dir/secrets" ] || files=$dir/secrets
set -a
. "$dir/bff.env"
BFF_MERCHANT_KEYS_FILE=$files/merchant_keys
BFF_SESSION_KEYS_FILE=$files/session_keys
BFF_WEBHOOK_SECRETS_FILE=$files/webhook_secrets
WZRD_PUBLIC_KEY_FILE=$files/wzrd_public_key
WZRD_API_KEY_FILE=$files/wzrd_api_key
WZRD_SIGNING_KEYS_FILE=$files/wzrd_signing_keys
[ -z "${BFF_CLUSTER_PEERS:-}" ] || BFF_CLUSTER_SECRET_FILE=$files/cluster_secret
# The service has a folder of its own, which this user need not write to.
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
BFF_DATA_DIR=${BFF_DATA_DIR:-$scratch}
set +a
"${BFF:-bff}" check "$@"
