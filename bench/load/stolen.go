package load

import (
	"bufio"
	"bytes"
	"os"
	"strconv"
)

// machineTime is what the CPUs of this machine have done since it was booted, in ticks of the kernel.
type machineTime struct {
	all    uint64
	stolen uint64 // by the host of a virtual machine, for others: it had work to do and did not run
}

// machineTimeNow reads the kernel's count; where it keeps none, it is zero.
func machineTimeNow() machineTime {
	file, err := os.Open("/proc/stat")
	if err != nil {
		return machineTime{}
	}
	defer file.Close()
	line, _ := bufio.NewReader(file).ReadBytes('\n')
	return parseMachineTime(line)
}

// stealColumn is the last that counts of the line "cpu" of /proc/stat (proc_stat(5)): user, nice, system, idle, iowait, irq, softirq,
// steal. What follows are guests of this machine, whose time is in the first two.
const stealColumn = 8

func parseMachineTime(line []byte) (t machineTime) {
	columns := bytes.Fields(line)
	if len(columns) <= stealColumn || string(columns[0]) != "cpu" {
		return machineTime{}
	}
	for _, column := range columns[1 : stealColumn+1] {
		ticks, err := strconv.ParseUint(string(column), 10, 64)
		if err != nil {
			return machineTime{}
		}
		t.all += ticks
		t.stolen = ticks // in the end
	}
	return t
}

// stolenSince returns the share of the CPUs' time that was stolen; 0 where that is not known. Steal may go back where a
// virtual machine was moved.
func (t machineTime) stolenSince(begin machineTime) float64 {
	if t.all <= begin.all || t.stolen < begin.stolen {
		return 0
	}
	return float64(t.stolen-begin.stolen) / float64(t.all-begin.all)
}
