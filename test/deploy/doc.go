// Package deploy tests what is in the folder deploy: that Kubernetes and systemd take it, and that its times fit the program's.
// It is a module of its own, since it needs the types of Kubernetes.
package deploy
