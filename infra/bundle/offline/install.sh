#!/bin/sh
# Installs yiyun from this folder with no registry, and takes the folder over, so that the next
# `yiyun lab up` needs none either.
#   control/install KEY [FOLDER]
# KEY: the builder's public key, ed25519:BASE64, as you were told it. FOLDER: where to (/opt/yiyun).
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
key=${1:-}
to=${2:-/opt/yiyun}
say() { printf '%s\n' "$*" >&2; }
fail() { say "$1"; exit "${2:-1}"; }

case $key in
ed25519:*) ;;
*) fail "usage: control/install ed25519:KEY [FOLDER]" 4 ;;
esac
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Before anything of the folder is run: whose lock is it, and are these the files it names?
if command -v openssl >/dev/null 2>&1; then
    { printf '\060\052\060\005\006\003\053\145\160\003\041\000'; printf '%s' "${key#ed25519:}" | base64 -d; } >"$work/key.der"
    openssl pkeyutl -verify -pubin -keyform DER -inkey "$work/key.der" -rawin \
        -in "$here/offline.lock.json" -sigfile "$here/offline.lock.sig" >"$work/said" 2>&1 ||
        fail "refused: offline.lock.json is not signed by $key" 3
else
    say "openssl is not installed: the signature is checked once yiyun is there"
fi
awk -F'"' '$2 == "path" { path = $4 } $2 == "sha256" { print $4 "  " path }' "$here/offline.lock.json" |
    grep -E '  (control|hosts/tools)/' >"$work/sums"
(cd "$here" && sha256sum --check --quiet --strict "$work/sums") ||
    fail "refused: a file is not the one the lock names" 1

# System packages this machine lacks, when the folder has those of its release.
release=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
lacking=""
while read -r package; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || lacking="$lacking $package"
done <"$here/control/packages"
if [ -n "$lacking" ]; then
    [ "$release" = "$(cat "$here/control/release")" ] ||
        fail "missing:$lacking; the folder has packages of $(cat "$here/control/release"), this is ${release:-no Debian}"
    [ "$(id -u)" = 0 ] || fail "missing:$lacking; run this as root" 4
    say "installing:$lacking"
    mkdir -p "$work/lists/partial" "$work/archives/partial"
    printf 'deb [trusted=yes] file:%s/control/debs ./\n' "$(printf %s "$here" | sed 's/ /%20/g')" >"$work/sources.list"
    apt() {
        DEBIAN_FRONTEND=noninteractive apt-get -o Dir::Etc::sourcelist="$work/sources.list" \
            -o Dir::Etc::sourceparts=/dev/null -o Dir::State::lists="$work/lists" \
            -o Dir::Cache::archives="$work/archives" -o APT::Sandbox::User=root "$@" >"$work/apt.log" 2>&1 ||
            { tail -n 5 "$work/apt.log" >&2; fail "the system packages could not be installed"; }
    }
    apt update
    # shellcheck disable=SC2086  the list is words
    apt install -y --no-install-recommends --no-upgrade $lacking
fi

python=/usr/bin/python$(cat "$here/control/python")
[ -x "$python" ] || fail "the folder is for $python, which this machine has not" 4
uv="$here/hosts/tools/uv"
[ -x "$uv" ] || { cp "$uv" "$work/uv"; chmod 755 "$work/uv"; uv="$work/uv"; }
say "installing yiyun into $to"
export UV_OFFLINE=1 UV_NO_CACHE=1 UV_PYTHON_DOWNLOADS=never
"$uv" venv --quiet --clear --python "$python" "$to"
"$uv" pip install --quiet --python "$to/bin/python" --no-index --find-links "$here/control/wheels" \
    --require-hashes -r "$here/control/wheels/yiyun.txt"
"$to/bin/yiyun" bundle use "$here" --key "$key"
say "next: $to/bin/yiyun lab up"
