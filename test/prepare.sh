#!/bin/bash
# Finds or installs what building and testing need.
#
#   prepare.sh go                        prints the path of a Go new enough for go.mod
#   prepare.sh goenv                     prints the file with the user's Go settings, if sudo hides it
#   prepare.sh packages PROGRAM:PACKAGE… installs the Debian packages of missing programs (needs root)
#   prepare.sh program PROGRAM:PACKAGE DIR  takes a program out of a Debian package that is not to be installed
set -eu -o pipefail
cd "$(dirname "$0")/.."

# The home of whoever called sudo: sudo itself points HOME and PATH elsewhere.
user_home() {
    getent passwd "${SUDO_USER:-$(id -un)}" | cut -d: -f6
}

version_of() { # outside the module, so that an old Go answers at all
    (cd / && GOTOOLCHAIN=local "$1" version 2>/dev/null | sed -n 's/^go version go\([0-9][0-9.]*\).*/\1/p')
}

find_go() {
    local need home found version old=""
    need=$(awk '$1 == "go" { print $2 }' go.mod)
    home=$(user_home)
    for found in "${GOROOT:-/nowhere}/bin/go" "$(command -v go || true)" /usr/local/go/bin/go \
        "$home"/go/bin/go "$home"/.local/go/bin/go "$home"/sdk/go*/bin/go /usr/lib/go-*/bin/go /snap/bin/go; do
        [ -x "$found" ] || continue
        version=$(version_of "$found")
        [ -n "$version" ] || continue
        if printf '%s\n' "$need" "$version" | sort -V -C; then
            echo "$found"
            return
        fi
        old="$old $found is $version;"
    done
    echo "error: needs Go $need or newer.${old:+ Too old:$old}" >&2
    echo "hint: Debian 12's own package is too old. Get go$need.linux-$(dpkg --print-architecture 2>/dev/null || echo amd64).tar.gz or newer from https://go.dev/dl/, then" >&2
    echo "hint:     sudo rm -rf /usr/local/go && sudo tar -C /usr/local -xzf go*.tar.gz" >&2
    return 1
}

find_goenv() {
    local file
    file=$(user_home)/.config/go/env
    if [ -n "${SUDO_USER:-}" ] && [ ! -e "${HOME:-/root}/.config/go/env" ] && [ -e "$file" ]; then
        echo "$file"
    fi
}

install_packages() {
    local pair missing=""
    for pair in "$@"; do
        PATH="$PATH:/usr/sbin:/sbin" command -v "${pair%%:*}" >/dev/null || missing="$missing ${pair#*:}"
    done
    # Without certificates Go cannot fetch modules.
    [ -e /etc/ssl/certs/ca-certificates.crt ] || missing="$missing ca-certificates"
    [ -n "$missing" ] || return 0
    if [ "$(id -u)" != 0 ]; then
        echo "error: missing Debian packages:$missing" >&2
        echo "hint: sudo apt-get install$missing" >&2
        return 1
    fi
    echo "installing missing Debian packages:$missing"
    export DEBIAN_FRONTEND=noninteractive
    # shellcheck disable=SC2086 # a list
    apt-get install -qq -y --no-install-recommends $missing >/dev/null 2>&1 || {
        apt-get update -qq
        apt-get install -qq -y --no-install-recommends $missing >/dev/null
    }
}

# For a package that starts a service when it is installed.
take_program() {
    local program=${1%%:*} package=${1#*:} dir=$2 tmp
    [ ! -x "$dir/$program" ] || return 0
    mkdir -p "$dir"
    tmp=$(mktemp -d)
    # shellcheck disable=SC2064 # as it is now
    trap "rm -rf '$tmp'" EXIT
    (cd "$tmp" && { apt-get -qq download "$package" || { apt-get -qq update && apt-get -qq download "$package"; }; }) 2>"$tmp/said" || {
        cat "$tmp/said" >&2
        echo "error: cannot download the Debian package $package for $program" >&2
        return 1
    }
    dpkg-deb --fsys-tarfile "$tmp"/*.deb | tar -xO "./usr/bin/$program" >"$tmp/program"
    install -m 755 "$tmp/program" "$dir/$program"
}

case "${1:-}" in
go) find_go ;;
goenv) find_goenv ;;
packages) shift && install_packages "$@" ;;
program) shift && take_program "$@" ;;
*)
    sed -n 's/^#   //p' "$0" >&2
    exit 2
    ;;
esac
