package compare

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestTurnsAreFair: over the rounds everybody goes in each place, and right after each other, equally often.
func TestTurnsAreFair(t *testing.T) {
	for contenders := 1; contenders <= 9; contenders++ {
		t.Run(fmt.Sprint(contenders), func(t *testing.T) {
			times := 1 + contenders%2
			inPlace, after := map[[2]int]int{}, map[[2]int]int{}
			for round := range times * contenders {
				order := turns(contenders, round)
				require.Len(t, order, contenders)
				for i, who := range order {
					inPlace[[2]int{who, i}]++
					if i > 0 {
						after[[2]int{order[i-1], who}]++
					}
				}
			}
			require.Len(t, inPlace, contenders*contenders)
			require.Len(t, after, contenders*(contenders-1))
			for pair, n := range inPlace {
				assert.Equal(t, times, n, "%d in place %d", pair[0], pair[1])
			}
			for pair, n := range after {
				assert.Equal(t, times, n, "%d, then %d", pair[0], pair[1])
			}
		})
	}
}

func TestFirstRoundGoesAsListed(t *testing.T) {
	assert.Equal(t, []int{0, 1, 2, 3, 4, 5}, turns(6, 0))
	assert.Equal(t, []int{0, 1, 2, 3, 4}, turns(5, 0))
}

// TestWhoGoesFirstChanges, and the report lists them as ever, each with a figure of every round.
func TestWhoGoesFirstChanges(t *testing.T) {
	var said strings.Builder
	rivals := []Contender{&fronted{Rival: newScript(t), name: "b"}, &fronted{Rival: newScript(t), name: "c"}}
	o := small(&fronted{Rival: newScript(t), name: "a"}, rivals...)
	o.Rounds, o.Out = 4, &said
	report, err := Run(t.Context(), o)
	require.NoError(t, err)
	went := make([]string, o.Rounds)
	last := ""
	for _, m := range regexp.MustCompile(`(?m)^4 connections, (?:round (\d) of 4|(selling out) 30 units): (\w).*$`).FindAllStringSubmatch(said.String(), -1) {
		if m[2] != "" {
			last += m[3]
			continue
		}
		went[m[1][0]-'1'] += m[3]
	}
	assert.Equal(t, []string{"fabc", "acfb", "cbaf", "bfca"}, went)
	assert.Equal(t, "abc", last)
	listed := ""
	for _, row := range rows(t, &report) {
		listed += row.Name[:1]
		assert.Len(t, row.Rates, o.Rounds, row.Name)
	}
	assert.Equal(t, "fabc", listed)
}
