package compare

import "slices"

// turns returns in which order so many contenders go in a round, numbered from 0; in the first as they are listed. Over as
// many rounds as there are contenders, twice as many where their number is odd, each goes in every place equally often, and
// right after each other equally often (the square of Williams, 1949): so nobody bears, time and again, what the same
// neighbour leaves behind.
func turns(contenders, round int) []int {
	zigzag := make([]int, contenders) // 0, 1, -1, 2, -2 …: each step is another, modulo an even number
	place := make([]int, contenders)
	for i := range zigzag {
		zigzag[i] = (i + 1) / 2
		if i%2 == 0 {
			zigzag[i] = (contenders - i/2) % contenders
		}
		place[zigzag[i]] = i
	}
	order := make([]int, contenders)
	for i := range order {
		order[i] = place[(zigzag[i]+round)%contenders]
	}
	if contenders%2 == 1 && round%2 == 1 {
		slices.Reverse(order)
	}
	return order
}
