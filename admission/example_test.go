package admission_test

import (
	"fmt"
	"time"

	"github.com/tandem-go/tandem/admission"
	"github.com/tandem-go/tandem/mailbox"
)

// A node asks its limits by itself, if they are in actor.Config.Admission. This is what they decide.
func ExampleNew() {
	table, err := admission.New(admission.Rules{
		Groups: map[string][]string{"partners": {"tls:acme", "tls:initech"}},
		List: []admission.Limit{
			{Name: "each partner", Principals: []string{"@partners"}, Per: admission.PerPrincipal, Rate: 10, Burst: 2},
			{Name: "reports", Messages: []string{"shop.report.*"}, Concurrent: 5},
		},
	})
	if err != nil {
		fmt.Println(err) // all that is wrong with the rules
		return
	}
	now := time.Now()
	ask := func(m admission.Message) *admission.Permit {
		p := new(admission.Permit)
		if refused := table.Admit(now, &m, p); refused != nil {
			fmt.Println(m.Type, m.Class, "refused by", refused.Limit, "for", refused.RetryAfter.Round(time.Millisecond))
			return nil
		}
		return p
	}
	for range 3 {
		ask(admission.Message{Principal: "tls:acme", Type: "shop.Buy"})
	}
	ask(admission.Message{Principal: "tls:initech", Type: "shop.Buy"}) // has tokens of its own

	for range 4 {
		defer table.End(now, ask(admission.Message{Principal: "tls:eve", Type: "shop.report.Year"}), true)
	}
	ask(admission.Message{Principal: "tls:eve", Type: "shop.report.Year", Class: mailbox.Low}) // the last fifth is not for these
	ask(admission.Message{Principal: "tls:eve", Type: "shop.report.Year"})
	fmt.Println(table.UnderWay("reports"))
	// Output:
	// shop.Buy normal refused by each partner for 100ms
	// shop.report.Year low refused by reports for 1ms
	// 5 5
}
