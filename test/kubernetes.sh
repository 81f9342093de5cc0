#!/bin/bash
# Builds programs of one version of Kubernetes, and etcd, out of Go modules:
#
#   kubernetes.sh build DIR VERSION ETCD   build what is missing in DIR
#   kubernetes.sh have DIR                 succeed if nothing is missing
#
# VERSION is that of k8s.io/kubernetes, such as v1.34.4, ETCD that of
# go.etcd.io/etcd, such as v3.6.5. From nothing it takes 13 to 20 minutes on two
# cores and 4 GB of build cache.
set -euo pipefail

programs=(kubeadm kubectl kube-apiserver kube-controller-manager kube-scheduler kubelet)

have() { # dir
    local name
    for name in "${programs[@]}" etcd etcdctl; do
        [ -x "$1/$name" ] || return 1
    done
}

# The module of Kubernetes names its parts (k8s.io/api and so on) with version
# v0.0.0, which only its own repository has. So each gets a line that says where
# it is; what has another version of the form v0.0.0-DATE-COMMIT is as it is.
module() { # version
    local file
    file=$(go mod download -json "k8s.io/kubernetes@$1" | sed -n 's/^\t"GoMod": "\(.*\)",$/\1/p')
    echo "module kubernetes"
    sed -n 's/^go [0-9.]*$/&/p' "$file"
    echo "require k8s.io/kubernetes $1"
    awk -v part="v0.${1#v1.}" '$1 ~ /^k8s\.io\// && $2 == "v0.0.0" { print "replace " $1 " => " $1 " " part }' "$file" | sort -u
}

build_kubernetes() { # dir version
    local work name minor version=k8s.io/component-base/version
    work=$(mktemp -d)
    trap 'rm -rf "$work"' RETURN
    minor=${2#v1.}
    cd "$work"
    module "$2" >made && mv made go.mod # go reads a go.mod that is there
    echo "package kubernetes" >only.go
    for name in "${programs[@]}"; do
        [ -x "$1/$name" ] && continue
        echo "building $name $2 into $1"
        go build -trimpath -o "$1/$name.new" -ldflags "-s -w -X $version.gitVersion=$2 -X $version.gitMajor=1 -X $version.gitMinor=${minor%%.*} -X $version.gitTreeState=clean" \
            "k8s.io/kubernetes/cmd/$name"
        mv "$1/$name.new" "$1/$name"
    done
}

build_etcd() { # dir version
    local work name path
    work=$(mktemp -d)
    trap 'rm -rf "$work"' RETURN
    cd "$work"
    printf 'module etcd\nrequire (\n\tgo.etcd.io/etcd/server/v3 %s\n\tgo.etcd.io/etcd/etcdctl/v3 %s\n)\n' "$2" "$2" >go.mod
    echo "package etcd" >only.go
    for name in etcd etcdctl; do
        [ -x "$1/$name" ] && continue
        echo "building $name $2 into $1"
        path=go.etcd.io/etcd/${name/%etcd/server}/v3
        go build -trimpath -o "$1/$name.new" -ldflags "-s -w" "$path"
        mv "$1/$name.new" "$1/$name"
    done
}

case ${1:-} in
have) have "$2" ;;
build)
    export CGO_ENABLED=0 GOFLAGS="-mod=mod -buildvcs=false"
    mkdir -p "$2"
    dir=$(realpath "$2")
    (build_kubernetes "$dir" "$3")
    (build_etcd "$dir" "$4")
    ;;
*)
    sed -n '2,6s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
