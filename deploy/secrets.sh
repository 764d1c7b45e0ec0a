#!/bin/sh
# Makes the secrets that are ours to make, each as a file in secrets/ beside this script
# (or in the folder given), and empty files for the three keys that WZRDPAY gives. What
# is there already is left alone.
set -eu
dir=${1:-$(dirname "$0")/secrets}
umask 077
mkdir -p "$dir"

make() { # name, contents
	if [ -s "$dir/$1" ]; then
		echo "kept   $dir/$1"
	else
		printf '%s\n' "$2" >"$dir/$1"
		echo "made   $dir/$1"
	fi
}

make merchant_keys "$(openssl rand -base64 32)"
make session_keys "k1:$(openssl rand -base64 32)"
make webhook_secrets "whsec_$(openssl rand -base64 32)"
make cluster_secret "$(openssl rand -base64 32)"
for name in wzrd_public_key wzrd_api_key wzrd_signing_keys; do
	if [ ! -s "$dir/$name" ]; then
		: >"$dir/$name"
		echo "empty  $dir/$name: put the key from Account → Integration into it"
	fi
done
# Compose hands files on as they are, and the container's user is neither root nor you:
# the files may be read, the folder may not be entered by others.
for name in merchant_keys session_keys webhook_secrets cluster_secret wzrd_public_key wzrd_api_key wzrd_signing_keys; do
	chmod 0644 "$dir/$name"
done
chmod 0700 "$dir"
