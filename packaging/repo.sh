#!/bin/bash
# Makes $DIST/repo from the packages in $DIST (dist): repo/deb for apt and
# repo/rpm for dnf, to be used from a folder or put on a web server as it is.
#
#   repo.sh [KEY]    KEY: a gpg key that signs the indices; none: they are unsigned
set -eu -o pipefail
cd "$(dirname "$0")/.."
cd "${DIST:?}"
key=${1:-}
version=${PKG_VERSION:?}

sign() { gpg --batch --yes --local-user "$key" "$@"; }

rm -rf repo
mkdir -p repo/deb repo/rpm
cp "havip_$version-"*.deb repo/deb/
cp "havip-$version-"*.rpm repo/rpm/

(
    cd repo/deb
    apt-ftparchive packages . >Packages
    gzip -9nk Packages
    apt-ftparchive -o APT::FTPArchive::Release::Origin=havip -o APT::FTPArchive::Release::Label=havip \
        -o APT::FTPArchive::Release::Suite=stable release . >Release.new
    mv Release.new Release
    [ -z "$key" ] || { sign --clearsign -o InRelease Release && sign --armor --detach-sign -o Release.gpg Release; }
)
createrepo_c --quiet repo/rpm
if [ -n "$key" ]; then
    sign --armor --detach-sign -o repo/rpm/repodata/repomd.xml.asc repo/rpm/repodata/repomd.xml
    gpg --batch --armor --export "$key" >repo/havip.asc
fi

here=$PWD/repo
cat <<EOF
apt:  echo 'deb [$([ -n "$key" ] && echo "signed-by=$here/havip.asc" || echo "trusted=yes")] file:$here/deb ./' > /etc/apt/sources.list.d/havip.list
dnf:  printf '[havip]\nname=havip\nbaseurl=file://$here/rpm\ngpgcheck=0\n$([ -n "$key" ] && echo "repo_gpgcheck=1\\ngpgkey=file://$here/havip.asc" || echo "repo_gpgcheck=0")\n' > /etc/yum.repos.d/havip.repo
EOF
