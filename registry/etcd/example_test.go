package etcd_test

import (
	"context"
	"log"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/tandem-go/tandem/registry/etcd"
)

// The registry goes into the Config of a system, which registers its node by itself.
func ExampleNew() {
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{"127.0.0.1:2379"}, DialTimeout: 5 * time.Second})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	reg, err := etcd.New(context.Background(), client, etcd.Config{Cluster: "shop"})
	if err != nil {
		log.Fatal(err)
	}
	defer reg.Close()
	// ... actor.Config{Registry: reg, ...}
}
