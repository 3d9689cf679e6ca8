package cli_test

import (
	"testing"
)

// What perms prints is that of the role, as the files show.
func TestPerms(t *testing.T) {
	w := &walk{t: t}
	w.want(0, []string{"shop.node.till-1"}, "perms", "node", "till-1", "--cluster", "shop", "--make", "--with", "settings", "--queue", "mails")
	w.want(0, []string{"tandem.admin.shop.ann.>"}, "perms", "operator", "ann", "--cluster", "shop", "--with", "settings")
	w.want(0, []string{"tandem.admin.shop.>"}, "perms", "gateway", "till-1", "--cluster", "shop")
	w.want(2, []string{"no such part"}, "perms", "node", "till-1", "--with", "nonsense")
	w.want(2, []string{"want node, operator or gateway"}, "perms", "boss", "ann")
	w.golden("perms")
}
