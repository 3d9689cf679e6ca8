package jetstream_test

import (
	"fmt"

	"github.com/tandem-go/tandem/queue/jetstream"
)

func ExamplePublishes() {
	for _, subject := range jetstream.Publishes("tandem", "jobs") {
		fmt.Println(subject)
	}
	// Output:
	// tandem_queue_jobs.*
	// tandem_queue_jobs_dead
	// tandem_queue_jobs_free.*
	// $JS.API.STREAM.INFO.tandem_queue_jobs
	// $JS.API.STREAM.CREATE.tandem_queue_jobs
	// $JS.API.STREAM.UPDATE.tandem_queue_jobs
	// $JS.API.STREAM.MSG.GET.tandem_queue_jobs
	// $JS.API.STREAM.MSG.DELETE.tandem_queue_jobs
	// $JS.API.STREAM.INFO.tandem_queue_jobs_dead
	// $JS.API.STREAM.CREATE.tandem_queue_jobs_dead
	// $JS.API.STREAM.UPDATE.tandem_queue_jobs_dead
	// $JS.API.STREAM.MSG.GET.tandem_queue_jobs_dead
	// $JS.API.STREAM.MSG.DELETE.tandem_queue_jobs_dead
	// $JS.API.STREAM.INFO.tandem_queue_jobs_free
	// $JS.API.STREAM.CREATE.tandem_queue_jobs_free
	// $JS.API.STREAM.UPDATE.tandem_queue_jobs_free
	// $JS.API.STREAM.MSG.GET.tandem_queue_jobs_free
	// $JS.API.STREAM.MSG.DELETE.tandem_queue_jobs_free
	// $JS.API.STREAM.PURGE.tandem_queue_jobs_free
	// $JS.API.CONSUMER.CREATE.tandem_queue_jobs.>
	// $JS.API.CONSUMER.INFO.tandem_queue_jobs.*
	// $JS.API.CONSUMER.PAUSE.tandem_queue_jobs.*
	// $JS.API.CONSUMER.MSG.NEXT.tandem_queue_jobs.*
	// $JS.ACK.tandem_queue_jobs.>
}
