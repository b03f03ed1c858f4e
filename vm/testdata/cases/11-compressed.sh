# A module is loaded from a file in any compression, even if this kernel cannot
# decompress it.

echo "this kernel decompresses: $(cat /sys/module/compression 2>/dev/null || echo nothing)"
tree=/lib/modules/$(uname -r)
mkdir -p $tree/extra
policy <<P
modules: {dummy: loaded}
P
for file in dummy.ko dummy.ko.gz dummy.ko.xz dummy.ko.zst dummy-crc64.ko.xz; do
	name=dummy.${file#*.}
	rm -f $tree/extra/*
	cp /extra/$file $tree/extra/$name
	echo "extra/$name:" >$tree/modules.dep
	apply 0
	has '^applied node module/dummy unloaded -> loaded'
	loaded dummy
	rmmod dummy
	# A damaged file is an error, and nothing is loaded.
	case $file in *.gz | *.ko | *crc64*) continue ;; esac
	head -c $(($(stat -c %s /extra/$file) / 2)) /extra/$file >$tree/extra/$name
	apply 5
	has '^failed node module/dummy unloaded -> loaded: cannot load module dummy: '
	unloaded dummy
done
