# Somebody loads the same modules at the same moment.

policy <<P
level: full
P
for round in 1 2; do
	for module in nft_ct xt_MASQUERADE nf_conntrack nft_redir; do
		(
			tries=0
			while [ $tries -lt 10 ]; do
				modprobe $module 2>/dev/null || true
				tries=$((tries + 1))
			done
		) &
	done
	apply 0
	hasnt '^(failed|undone|refusal)'
	wait
	insync
	policy <<P
level: disabled
modulesAboveLevel: unload
P
	apply 0
	unloaded nf_conntrack nf_tables nf_nat
	policy <<P
level: full
P
done
