package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"

	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

// startNATS starts a cluster of three NATS servers in this process. stop stops those that run, also after an error.
func startNATS() (urls string, stop func(), err error) {
	var servers []*embedded.Server
	stop = func() {
		for _, s := range servers {
			s.Shutdown()
		}
	}
	var ports [3]int
	var routes, clients []string
	for i := range ports {
		if ports[i], err = freePort(); err != nil {
			return "", stop, err
		}
		routes = append(routes, fmt.Sprint("nats://127.0.0.1:", ports[i]))
	}
	for i, port := range ports {
		s, err := embedded.Start(embedded.Config{Name: fmt.Sprint("nats-", i+1),
			Cluster: &embedded.ClusterConfig{Name: "bank", Port: port, Routes: routes}})
		if err != nil {
			return "", stop, err
		}
		servers, clients = append(servers, s), append(clients, s.URL())
	}
	return strings.Join(clients, ","), stop, nil
}

func freePort() (int, error) {
	for range 100 { // below the ports that systems give to connections
		l, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", 10000+rand.IntN(20000)))
		if err == nil {
			return l.Addr().(*net.TCPAddr).Port, l.Close()
		}
	}
	return 0, errors.New("no port is free")
}
