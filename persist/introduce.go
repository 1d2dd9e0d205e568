package persist

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"

	"flashsale/engine"
)

// Processes of one ledger must have the same settings where answers depend on them. Each introduces itself when it begins to
// listen to the ledger, and those that hear it introduce themselves in turn: so both sides of a difference know of it, and
// nobody else is ever compared with.

// settingsChannel is where processes introduce themselves.
const settingsChannel = "flashsale_settings"

// introduction is the payload on settingsChannel.
type introduction struct {
	Process  string            `json:"process"`          // told apart by chance
	Answer   bool              `json:"answer,omitempty"` // to somebody else's: nobody answers it
	Settings map[string]string `json:"settings"`
}

// acquaintance is how a process introduces itself, and which differences it has told of. The zero value has nothing to say.
type acquaintance struct {
	self introduction
	mu   sync.Mutex
	told map[string]bool
}

func selfWith(settings map[string]string) introduction {
	return introduction{Process: engine.NewNamespace(0), Settings: settings}
}

// introduce tells the others of this process' settings, if it has any that are to be compared.
func (k *Keeper) introduce(ctx context.Context, conn *pgx.Conn, answer bool) error {
	if len(k.others.self.Settings) == 0 {
		return nil
	}
	me := k.others.self
	me.Answer = answer
	text, err := json.Marshal(me)
	if err != nil {
		return fmt.Errorf("introduce: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, ledgerTimeout)
	defer cancel()
	if _, err := conn.Exec(ctx, announce, settingsChannel, string(text)); err != nil {
		return fmt.Errorf("introduce: %w", err)
	}
	return nil
}

// meet takes an introduction in and answers it. One that can't be read is of a version that says it in another way.
func (k *Keeper) meet(ctx context.Context, conn *pgx.Conn, payload string) error {
	var other introduction
	if err := json.Unmarshal([]byte(payload), &other); err != nil || other.Process == k.others.self.Process {
		return nil //nolint:nilerr // see above
	}
	if text := k.others.differences(other.Settings); text != "" {
		k.config.Logger.Warn("another process of this ledger has other settings: what is answered depends on who is asked", "differ", text)
	}
	if other.Answer {
		return nil
	}
	return k.introduce(ctx, conn, true)
}

// differences puts into words what another process has set differently, "" where nothing is or where it was told before.
func (a *acquaintance) differences(theirs map[string]string) string {
	var differ []string
	for _, name := range slices.Sorted(maps.Keys(a.self.Settings)) {
		if there, known := theirs[name]; known && there != a.self.Settings[name] {
			differ = append(differ, fmt.Sprintf("%s is %s here, %s there", name, a.self.Settings[name], there))
		}
	}
	text := strings.Join(differ, "; ")
	a.mu.Lock()
	defer a.mu.Unlock()
	if text == "" || a.told[text] {
		return ""
	}
	if a.told == nil {
		a.told = make(map[string]bool)
	}
	a.told[text] = true
	return text
}
