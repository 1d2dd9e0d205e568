package engine

// crc16 is CRC-16/XMODEM, the sum by which Redis Cluster assigns slots
// (https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/).
func crc16(s string) uint16 {
	var crc uint16
	for i := range len(s) {
		crc = crc<<8 ^ crc16Table[byte(crc>>8)^s[i]]
	}
	return crc
}

var crc16Table = makeCRC16Table()

func makeCRC16Table() (table [256]uint16) {
	const polynomial = 0x1021
	for i := range table {
		crc := uint16(i) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ polynomial
			} else {
				crc <<= 1
			}
		}
		table[i] = crc
	}
	return table
}
