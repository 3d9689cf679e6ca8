package redis_test

import (
	"context"
	"log"

	"github.com/redis/go-redis/v9"

	tandemredis "github.com/tandem-go/tandem/registry/redis"
)

// The registry goes into the Config of a system, which registers its node by itself.
func ExampleNew() {
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:6379"})
	defer client.Close()
	reg, err := tandemredis.New(context.Background(), client, tandemredis.Config{Cluster: "shop"})
	if err != nil {
		log.Fatal(err)
	}
	defer reg.Close()
	// ... actor.Config{Registry: reg, ...}
}
