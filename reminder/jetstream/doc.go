// Package jetstream keeps the reminders of virtual actors in JetStream.
package jetstream
