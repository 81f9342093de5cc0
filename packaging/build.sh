#!/bin/bash
# Builds packages into $DIST. Called by make, which sets
#   DIST     the folder, dist
#   VERSION  as `git describe` says it, or any v1.2.3
#   ARCHS    amd64, arm64 or both
#   TOOLS    the folder with nfpm and go-md2man
#   LDFLAGS, TAGS  of the build
# The same commit gives the same bytes: all times are SOURCE_DATE_EPOCH, which is
# the commit's time unless it is set.
#
#   build.sh deb|rpm     builds them, prints their names
#   build.sh version     prints the version that they have
set -eu -o pipefail
cd "$(dirname "$0")/.."
umask 022

packager=$1
export STAGE=$DIST/stage
export MAINTAINER="havip maintainers <maintainers@havip.invalid>"
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -c safe.directory='*' log -1 --format=%ct 2>/dev/null || stat -c %Y CHANGELOG.md)}

# A version that both dpkg and rpm sort right: 1.2.3; 1.2.3+4.gabc1234 after 4
# more commits; 0~dev.20.gabc1234 before the first tag.
version() {
    local v=${VERSION#v}
    if [[ $v =~ ^([0-9][0-9.]*)(-(rc|beta|alpha)([.0-9]*))?(-([0-9]+)-(g[0-9a-f]+))?(-dirty)?$ ]]; then
        echo "${BASH_REMATCH[1]}${BASH_REMATCH[3]:+~${BASH_REMATCH[3]}${BASH_REMATCH[4]}}${BASH_REMATCH[6]:+${BASH_REMATCH[6]:++${BASH_REMATCH[6]}.${BASH_REMATCH[7]}}}${BASH_REMATCH[8]:+.dirty}"
        return
    fi
    if [ "$v" != dev ]; then
        echo "error: VERSION=$VERSION is not like v1.2.3, v1.2.3-rc1 or v1.2.3-4-gabc1234" >&2
        return 1
    fi
    echo "0~dev.$(git -c safe.directory='*' rev-list --count HEAD).g$(git -c safe.directory='*' rev-parse --short=7 HEAD)"
}

build() { # of one architecture
    mkdir -p "$STAGE/$1"
    GOOS=linux GOARCH=$1 CGO_ENABLED=0 go build -trimpath -buildvcs=false -tags "$TAGS" \
        -ldflags "$LDFLAGS -X main.version=$PKG_VERSION" -o "$STAGE/$1/" ./cmd/havipd ./cmd/havipctl
}

day() { date -u -d "@$SOURCE_DATE_EPOCH" +%Y-%m-%d; }

squeeze() { gzip -9n >"$1"; }

# What has no place in a deb, or another form: documentation marked as such, the
# license (a deb has it in the copyright file) and the changelog.
rpm_only() {
    local f
    for f in "$STAGE"/man?/* "$STAGE"/doc/*; do
        case $f in
        */doc/*) echo "  - {src: $f, dst: /usr/share/doc/havip/${f##*/}, packager: rpm, type: doc}" ;;
        *) echo "  - {src: $f, dst: /usr/share/man/${f#"$STAGE"/}, packager: rpm, type: doc}" ;;
        esac
    done
    echo "license: Apache-2.0"
    echo "changelog: $STAGE/changelog.yaml"
    cat >"$STAGE/changelog.yaml" <<EOF
- semver: $PKG_VERSION-$PKG_RELEASE
  date: $(date -u -d "@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)
  packager: $MAINTAINER
  changes: [{note: "Version $PKG_VERSION; CHANGELOG.md in the documentation says what is new."}]
EOF
}

stage() {
    local own f page
    rm -rf "$STAGE"
    mkdir -p "$STAGE"/{man5,man8,completion,doc}
    for f in $ARCHS; do build "$f"; done
    own=$STAGE/$(go env GOHOSTARCH)
    [ -x "$own/havipctl" ] || build "$(go env GOHOSTARCH)"
    for f in packaging/man/*.md; do
        page=$(basename "$f" .md)
        sed "1s/\"\"/\"$(day)\"/" "$f" | "$TOOLS/go-md2man" | squeeze "$STAGE/man${page##*.}/$page.gz"
    done
    for f in bash zsh fish; do "$own/havipctl" completion "$f" >"$STAGE/completion/$f"; done
    packaging/docs.sh "$STAGE/doc"
    "$own/havipctl" config reference >"$STAGE/doc/havip.toml.reference"
    [ "$packager" = deb ] || cp CHANGELOG.md "$STAGE/doc/"
    squeeze "$STAGE/changelog.gz" <CHANGELOG.md
    squeeze "$STAGE/changelog.Debian.gz" <<EOF
havip ($PKG_VERSION-$PKG_RELEASE) unstable; urgency=medium

  * Version $PKG_VERSION; /usr/share/doc/havip/changelog.gz says what is new.

 -- $MAINTAINER  $(LC_ALL=C date -u -R -d "@$SOURCE_DATE_EPOCH")
EOF
    cp packaging/nfpm.yaml "$STAGE/nfpm.yaml"
    if [ "$packager" = rpm ]; then rpm_only >>"$STAGE/nfpm.yaml"; fi
    find "$STAGE" -type f -exec chmod 644 {} +
    chmod 755 "$STAGE"/*/havipd "$STAGE"/*/havipctl
    find "$STAGE" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
}

PKG_VERSION=$(version)
export PKG_VERSION PKG_RELEASE=1
if [ "$packager" = version ]; then
    echo "$PKG_VERSION"
    exit
fi
stage
for arch in $ARCHS; do
    said=$(ARCH=$arch "$TOOLS/nfpm" package --config "$STAGE/nfpm.yaml" --packager "$packager" --target "$DIST/" 2>&1) || {
        echo "error: nfpm: $said" >&2
        exit 1
    }
    echo "${said##*: }"
done
