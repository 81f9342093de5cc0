#!/bin/bash
# Runs a test program on the kernel of this Debian release, in a virtual machine:
#
#   oldkernel.sh TEST [ARGUMENT…]
#
# The machine needs no KVM, has no network, no disk, and of this system what TEST
# and the programs below need. Debian 12's kernel, 6.1, is older than the tcx hooks
# of the fence. Needs root for the packages alone, a minute or two and 1.5 GB of memory.
set -euo pipefail
cd "$(dirname "$0")/.."

programs=(bash ip tc setpriv kmod mount sleep)

test/prepare.sh packages qemu-system-x86_64:qemu-system-x86 cpio:cpio kmod:kmod ip:iproute2

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
mkdir -p "$root"/{proc,sys,dev,run,tmp,etc,usr/bin,usr/sbin,usr/lib}
for dir in bin sbin lib; do ln -s usr/$dir "$root/$dir"; done
[ -d /lib64 ] && mkdir "$root/usr/lib64" && ln -s usr/lib64 "$root/lib64"

# One of the newest kernel, as Debian has it.
package=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p')
(cd "$work" && apt-get -qq -o APT::Sandbox::User=root download "$package" && dpkg -x "$package"_*.deb kernel)
release=$(ls "$work/kernel/lib/modules")
echo "== Linux $release"
modules=lib/modules/$release
mkdir -p "$root/$modules/kernel"
cp -a "$work/kernel/$modules"/modules.* "$root/$modules/"
for part in drivers/net net lib; do
    mkdir -p "$root/$modules/kernel/$part"
    cp -a "$work/kernel/$modules/kernel/$part/." "$root/$modules/kernel/$part/"
done
depmod -b "$root" "$release"

# add copies a program and the libraries that it is linked with.
add() {
    local file
    for file in "$1" $(ldd "$1" 2>/dev/null | grep -o '/[^ ]*'); do
        [ -e "$root$file" ] || cp -L --parents "$file" "$root/"
    done
}
for p in "${programs[@]}"; do add "$(realpath -s "$(command -v "$p")")"; done
ln -sf "$(command -v kmod)" "$root/usr/sbin/modprobe" # which the kernel calls for what is missing
cp "$1" "$root/run-test"
add "$1"
shift

cat > "$root/init" <<END
#!/bin/bash
export PATH=/usr/sbin:/usr/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
mount -t tmpfs run /run
/run-test $(printf '%q ' "$@")
echo "exit: \$?"
echo o > /proc/sysrq-trigger
sleep 60
END
chmod +x "$root/init"
(cd "$root" && find . | cpio -o -H newc --quiet | gzip -1) > "$work/initrd"

# Emulated, so that a machine without KVM, or with a bad one, can run it too.
timeout 900 qemu-system-x86_64 -accel tcg,thread=multi -cpu max -m 1536 -smp 2 -nographic -no-reboot -nic none \
    -kernel "$work/kernel/boot/vmlinuz-$release" -initrd "$work/initrd" \
    -append "console=ttyS0 rdinit=/init quiet panic=-1" </dev/null | tr -d '\r' | tee "$work/log"
grep -qx 'exit: 0' "$work/log"
