//go:build privileged && linux

package faults

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"flashsale/internal/devstack/devtest"
)

// takeover bounds how long a partition may be without a leader that writes, from the moment on when its machine is silent.
const takeover = 20 * time.Second

// TestAMachineThatVanishes: the process that leads a partition loses its network without a word to anybody: Postgres still
// takes its session, and with it the leader's lock, for alive. Another process leads before long, and what was answered is
// there, also when the machine comes back.
func TestAMachineThatVanishes(t *testing.T) {
	s, h := newSiteOnMachines(t, 1, 2, "lamp", "chair", "table")
	ended := s.sell(t, 1, func(c *crowd) {
		gone := h.leaderOf(s, 0)
		mend := h.spoil(silent, both, h.processes[gone], h.others(h.processes[gone])...)
		began := time.Now()
		s.sellsEverywhere(c, s.nodes[1-gone])
		t.Logf("process %d led and vanished; the other one sold everything in mode ledger after %s", gone, time.Since(began))
		mend()
		devtest.Eventually(t, comeback, "the process to be back", s.nodes[gone].ready)
	})
	s.quiet()
	t.Log(s.judge(ended, none))
}

// TestTheHalfWithTheLedgerGoesOn: the network splits for good as far as anybody can tell. The half with the ledger and the
// replica sells before long; the other half sells on what it has, and answers nothing that it can't keep.
func TestTheHalfWithTheLedgerGoesOn(t *testing.T) {
	s, h := newSiteOnMachines(t, 2, 2, "lamp", "chair", "table")
	ended := s.sell(t, 2, func(c *crowd) {
		lone := h.leaderOf(s, 0)
		began, mend := time.Now(), h.splitOff(s, lone)
		s.sellsEverywhere(c, s.nodes[1-lone])
		t.Logf("the half with the ledger sold everything in mode ledger after %s", time.Since(began))
		mend(0)
		devtest.Eventually(t, comeback, "the other half to be back", s.nodes[lone].ready)
	})
	s.quiet()
	t.Log(s.judge(ended, behind))
}

// TestAPostgresThatFallsSilent: a process that only listens to Postgres finds out that nobody speaks there any more.
func TestAPostgresThatFallsSilent(t *testing.T) {
	s, h := newSiteOnMachines(t, 3, 1, "lamp")
	ended := s.sell(t, 3, func(*crowd) {
		mend := h.spoil(silent, both, h.postgres, h.others(h.postgres)...)
		devtest.Eventually(t, takeover, "the process to notice", func() bool {
			return strings.Contains(s.nodes[0].output.String(), "listening to the ledger broke off")
		})
		mend()
	})
	s.quiet()
	t.Log(s.judge(ended, none))
}

// leaderOf is the process that leads a partition, as Postgres says.
func (h *hardware) leaderOf(s *site, partition int) (process int) {
	s.t.Helper()
	devtest.Eventually(s.t, comeback, "somebody to lead", func() bool {
		var address string
		err := s.pool.QueryRow(s.t.Context(), `SELECT host(client_addr) FROM pg_locks JOIN pg_stat_activity USING (pid)
			WHERE locktype = 'advisory' AND objid = $1 AND granted AND client_addr IS NOT NULL`, partition).Scan(&address)
		process = slices.IndexFunc(h.processes, func(m *machine) bool { return m.address == address })
		return err == nil && process >= 0
	})
	return process
}

// sellsEverywhere waits until a process has sold one of every product in mode ledger.
func (s *site) sellsEverywhere(c *crowd, n *node) {
	s.t.Helper()
	for _, product := range s.products {
		tries := 0
		devtest.Eventually(s.t, takeover, n.base+" to sell a "+product+" in mode ledger", func() bool {
			tries++
			return c.placeAt(n, newPurchase(fmt.Sprintf("prober-%s-%d", product, tries), product, 1, false, modeLedger)) == yes
		})
	}
}

// placeAt has one order placed at one process, once.
func (c *crowd) placeAt(n *node, p *purchase) outcome {
	c.come(p)
	status, a := n.post("/orders", p.body(""), "key-of-"+p.user)
	came := outcomeOf(status)
	p.tell("order", came, status, a.text("code"))
	p.orderID = a.text("orderId")
	p.placed(came)
	return came
}
