# Other processes load the same modules at the same moment.

policy <<P
level: full
P
for module in nft_ct xt_MASQUERADE nf_conntrack nft_redir; do
	(
		tries=0
		while [ $tries -lt 10 ]; do
			modprobe $module || true
			tries=$((tries + 1))
		done
	) &
done
apply 0
hasnt '^(failed|undone|refusal)'
wait
insync
loaded nf_nat nft_redir xt_MASQUERADE
