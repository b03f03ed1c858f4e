# A module is loaded from a file in any compression, whether this kernel reads
# that one itself or not.

echo "this kernel decompresses: $(cat /sys/module/compression 2>/dev/null || echo nothing)"
tree=/lib/modules/$(uname -r)
cp $tree/modules.dep /tmp/modules.dep
mkdir -p $tree/extra
for file in dummy.ko dummy.ko.gz dummy.ko.xz dummy.ko.zst dummy-crc64.ko.xz; do
	name=dummy.${file#*.}
	rm -f $tree/extra/*
	cp /extra/$file $tree/extra/$name
	echo "extra/$name:" >$tree/modules.dep
	policy <<P
modules: {dummy: loaded}
P
	apply 0
	has '^applied node module/dummy unloaded -> loaded'
	loaded dummy
	policy <<P
modules: {dummy: unloaded}
P
	apply 0
	unloaded dummy

	# One that is damaged is told, and nothing is loaded.
	dd if=/extra/$file of=$tree/extra/$name bs=1000 count=4 2>/dev/null
	policy <<P
modules: {dummy: loaded}
P
	apply 5
	has '^failed node module/dummy unloaded -> loaded: cannot load module dummy: '
	unloaded dummy
done
cp /tmp/modules.dep $tree/modules.dep
rm -rf $tree/extra
