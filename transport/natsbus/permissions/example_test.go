package permissions_test

import (
	"fmt"

	"github.com/tandem-go/tandem/transport/natsbus/permissions"
)

// This is the part of the server's configuration for a node that uses the bus and the registry.
func Example() {
	till := permissions.Node{Cluster: "shop", Name: "till-1", Principal: "till", Inbox: "_INBOX_till-1"}
	fmt.Println(permissions.All(till.Bus(), till.Registry()))
	// Output:
	// permissions: {
	//   publish: { allow: [
	//     "shop.node.*.*.till"
	//     "shop.find.*.till"
	//     "$KV.shop_nodes.till-1"
	//     "$KV.shop_nodes.left.till-1"
	//     "$JS.API.STREAM.INFO.KV_shop_nodes"
	//     "$JS.API.STREAM.MSG.GET.KV_shop_nodes"
	//     "$JS.API.CONSUMER.CREATE.KV_shop_nodes.>"
	//     "$JS.API.CONSUMER.DELETE.KV_shop_nodes.>"
	//     "$JS.FC.KV_shop_nodes.>"
	//   ] }
	//   subscribe: { allow: [
	//     "shop.node.till-1.*.*"
	//     "shop.find.till-1.*"
	//     "shop.gone.till-1.*.*"
	//     "_INBOX_till-1.>"
	//   ] }
	// }
}

func ExampleNode_Bus() {
	fmt.Println(permissions.Node{Cluster: "shop", Name: "till-1", Principal: "till"}.Bus().Publish)
	// Output: [shop.node.*.*.till shop.find.*.till]
}

func ExampleNode_Registry() {
	n := permissions.Node{Cluster: "shop", Name: "till-1", Principal: "till"}
	fmt.Println(n.Registry().Publish[0], n.Registry().Subscribe)
	// Output: $KV.shop_nodes.till-1 [_INBOX.>]
}

func ExampleNode_MakeRegistry() {
	fmt.Println(permissions.Node{Cluster: "shop", Name: "till-1"}.MakeRegistry().Publish)
	// Output: [$JS.API.INFO $JS.API.STREAM.CREATE.KV_shop_nodes]
}

func ExampleNode_Records() {
	fmt.Println(permissions.Node{Cluster: "shop", Name: "till-1"}.Records().Publish[0])
	// Output: shop_records.till-1
}

func ExampleNode_MakeRecords() {
	fmt.Println(permissions.Node{Cluster: "shop", Name: "till-1"}.MakeRecords().Publish)
	// Output: [$JS.API.STREAM.CREATE.shop_records]
}

func ExampleNode_Topics() {
	for _, subject := range (permissions.Node{Cluster: "shop"}).Topics().Publish {
		fmt.Println(subject)
	}
	// Output:
	// shop_topics.>
	// $JS.API.STREAM.INFO.shop_topics
	// $JS.API.STREAM.CREATE.shop_topics
	// $JS.API.STREAM.UPDATE.shop_topics
	// $JS.API.CONSUMER.CREATE.shop_topics.>
	// $JS.API.CONSUMER.INFO.shop_topics.*
	// $JS.API.CONSUMER.DELETE.shop_topics.*
	// $JS.API.CONSUMER.MSG.NEXT.shop_topics.*
	// $JS.ACK.shop_topics.>
}

func ExampleNode_States() {
	fmt.Println(permissions.Node{Cluster: "shop", Name: "till-1"}.States().Publish[0])
	// Output: shop_state.>
}

func ExampleNode_MakeStates() {
	fmt.Println(permissions.Node{Cluster: "shop", Name: "till-1"}.MakeStates().Publish)
	// Output: [$JS.API.STREAM.CREATE.shop_state $JS.API.STREAM.CREATE.shop_state_made]
}

func ExampleNode_Claims() {
	for _, subject := range (permissions.Node{Cluster: "shop", Name: "till-1"}).Claims().Publish {
		fmt.Println(subject)
	}
	// Output:
	// $KV.shop_claims.>
	// $JS.API.STREAM.INFO.KV_shop_claims
	// $JS.API.STREAM.INFO.shop_claims_made
	// $JS.API.STREAM.MSG.GET.KV_shop_claims
	// $JS.API.CONSUMER.CREATE.KV_shop_claims.>
	// $JS.API.CONSUMER.MSG.NEXT.KV_shop_claims.>
	// $JS.API.CONSUMER.DELETE.KV_shop_claims.>
}

func ExampleNode_MakeClaims() {
	fmt.Println(permissions.Node{Cluster: "shop", Name: "till-1"}.MakeClaims().Publish)
	// Output: [$JS.API.STREAM.CREATE.KV_shop_claims $JS.API.STREAM.CREATE.shop_claims_made]
}

func ExampleNode_Reminders() {
	fmt.Println(permissions.Node{Cluster: "shop", Name: "till-1"}.Reminders().Publish[0])
	// Output: shop_reminders.>
}

func ExampleNode_MakeReminders() {
	fmt.Println(permissions.Node{Cluster: "shop", Name: "till-1"}.MakeReminders().Publish)
	// Output: [$JS.API.STREAM.CREATE.shop_reminders $JS.API.STREAM.CREATE.shop_alarms]
}

// Operators write settings, and nodes only read them.
func ExampleNode_Settings() {
	n := permissions.Node{Cluster: "shop", Name: "till-1"}
	for _, subject := range n.Settings().Publish {
		fmt.Println(subject)
	}
	fmt.Println(n.WriteSettings().Publish, n.MakeSettings().Publish)
	// Output:
	// $JS.API.STREAM.INFO.KV_shop_settings
	// $JS.API.CONSUMER.CREATE.KV_shop_settings.>
	// $JS.API.CONSUMER.DELETE.KV_shop_settings.>
	// $JS.FC.KV_shop_settings.>
	// [$KV.shop_settings.>] [$JS.API.INFO $JS.API.STREAM.CREATE.KV_shop_settings]
}

func ExampleNode_Queue() {
	for _, subject := range (permissions.Node{Cluster: "shop"}).Queue("mails").Publish {
		fmt.Println(subject)
	}
	// Output:
	// shop_queue_mails.*
	// shop_queue_mails_dead
	// shop_queue_mails_free.*
	// $JS.API.STREAM.INFO.shop_queue_mails
	// $JS.API.STREAM.CREATE.shop_queue_mails
	// $JS.API.STREAM.UPDATE.shop_queue_mails
	// $JS.API.STREAM.MSG.GET.shop_queue_mails
	// $JS.API.STREAM.INFO.shop_queue_mails_dead
	// $JS.API.STREAM.CREATE.shop_queue_mails_dead
	// $JS.API.STREAM.UPDATE.shop_queue_mails_dead
	// $JS.API.STREAM.MSG.GET.shop_queue_mails_dead
	// $JS.API.STREAM.INFO.shop_queue_mails_free
	// $JS.API.STREAM.CREATE.shop_queue_mails_free
	// $JS.API.STREAM.UPDATE.shop_queue_mails_free
	// $JS.API.STREAM.MSG.GET.shop_queue_mails_free
	// $JS.API.STREAM.MSG.DELETE.shop_queue_mails
	// $JS.API.STREAM.MSG.DELETE.shop_queue_mails_dead
	// $JS.API.STREAM.PURGE.shop_queue_mails_free
	// $JS.API.CONSUMER.CREATE.shop_queue_mails.>
	// $JS.API.CONSUMER.INFO.shop_queue_mails.*
	// $JS.API.CONSUMER.PAUSE.shop_queue_mails.*
	// $JS.API.CONSUMER.MSG.NEXT.shop_queue_mails.*
	// $JS.ACK.shop_queue_mails.>
}
