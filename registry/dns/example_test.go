package dns_test

import (
	"context"
	"fmt"
	"log"
	"net/netip"

	"github.com/tandem-go/tandem/registry/dns"
)

// The node of a pod has the name that others find it by.
func ExampleNodeName() {
	fmt.Println(dns.NodeName(netip.MustParseAddr("10.0.0.7")))
	fmt.Println(dns.NodeName(netip.MustParseAddr("fd00::7")))
	// Output:
	// 10-0-0-7
	// fd00--7
}

// Each address of a headless service is a node that listens on port 7420.
func ExampleNew() {
	reg, err := dns.New(context.Background(), dns.Config{Name: "shop.prod.svc.cluster.local.", Port: 7420})
	if err != nil {
		log.Fatal(err)
	}
	defer reg.Close()
	// ... actor.Config{Name: dns.NodeName(own), Registry: reg, ...}
}
