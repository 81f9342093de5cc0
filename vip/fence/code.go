package fence

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"
)

// code is a BPF program being written, one instruction after the other.
//
// Eight bytes an instruction (RFC 9669 section 3): operation, two registers,
// offset, immediate value. Those that load 64 bits take two.
type code struct {
	bytes  []byte
	jumps  map[int]string // instruction to the label it goes to
	labels map[string]int // label to the instruction it stands before
}

// Registers by their duties (RFC 9669 section 2): r0 has a call's result and the
// program's, r1 to r5 a call's arguments, r6 to r9 outlive calls, r10 is the
// stack's end.
const (
	r0 = iota
	r1
	r2
	r3
	r4
	r5
	r6
	r7
	r8
	r9
	r10
)

// What the code does, put together from the parts of RFC 9669 section 4.
const (
	loadWord      = unix.BPF_LDX | unix.BPF_MEM | unix.BPF_W
	loadLong      = unix.BPF_LDX | unix.BPF_MEM | unix.BPF_DW
	loadByte      = unix.BPF_LDX | unix.BPF_MEM | unix.BPF_B
	loadConstant  = unix.BPF_LD | unix.BPF_IMM | unix.BPF_DW
	setConstant   = unix.BPF_ALU64 | unix.BPF_MOV | unix.BPF_K
	setRegister   = unix.BPF_ALU64 | unix.BPF_MOV | unix.BPF_X
	addConstant   = unix.BPF_ALU64 | unix.BPF_ADD | unix.BPF_K
	andConstant   = unix.BPF_ALU64 | unix.BPF_AND | unix.BPF_K
	subRegister   = unix.BPF_ALU64 | unix.BPF_SUB | unix.BPF_X
	jumpAlways    = unix.BPF_JMP | unix.BPF_JA
	jumpEqual     = unix.BPF_JMP32 | unix.BPF_JEQ | unix.BPF_K // of 32 bits, as the others with a constant
	jumpNotEqual  = unix.BPF_JMP32 | unix.BPF_JNE | unix.BPF_K
	jumpDifferent = unix.BPF_JMP | unix.BPF_JNE | unix.BPF_X
	jumpAtLeast   = unix.BPF_JMP | unix.BPF_JGE | unix.BPF_X
	call          = unix.BPF_JMP | unix.BPF_CALL
	exit          = unix.BPF_JMP | unix.BPF_EXIT
)

func newCode() *code { return &code{jumps: map[int]string{}, labels: map[string]int{}} }

func (c *code) len() int { return len(c.bytes) / 8 }

func (c *code) add(op uint8, dst, src uint8, off int16, imm int32) {
	c.bytes = append(c.bytes, op, src<<4|dst)
	c.bytes = binary.NativeEndian.AppendUint16(c.bytes, uint16(off))
	c.bytes = binary.NativeEndian.AppendUint32(c.bytes, uint32(imm))
}

// load reads memory at src+off.
func (c *code) load(op uint8, dst, src uint8, off int16) { c.add(op, dst, src, off, 0) }

func (c *code) constant(op uint8, dst uint8, imm int32) { c.add(op, dst, 0, 0, imm) }

func (c *code) register(op uint8, dst, src uint8) { c.add(op, dst, src, 0, 0) }

// long sets a register to 64 bits.
func (c *code) long(dst uint8, value uint64) {
	c.add(loadConstant, dst, 0, 0, int32(uint32(value)))
	c.add(0, 0, 0, 0, int32(uint32(value>>32)))
}

// mapMemory sets a register to where a map's first value is.
func (c *code) mapMemory(dst uint8, fd int) {
	c.add(loadConstant, dst, unix.BPF_PSEUDO_MAP_VALUE, 0, int32(fd))
	c.add(0, 0, 0, 0, 0)
}

// jump goes to a label, which may come later.
func (c *code) jump(op uint8, dst, src uint8, imm int32, label string) {
	c.jumps[c.len()] = label
	c.add(op, dst, src, 0, imm)
}

func (c *code) label(name string) { c.labels[name] = c.len() }

func (c *code) call(helper int32) { c.add(call, 0, 0, 0, helper) }

// exit ends the program with a verdict.
func (c *code) exit(verdict int32) {
	c.constant(setConstant, r0, verdict)
	c.add(exit, 0, 0, 0, 0)
}

// link fills in how far the jumps go and returns the program.
func (c *code) link() []byte {
	for at, label := range c.jumps {
		to, ok := c.labels[label]
		if !ok {
			panic(fmt.Sprintf("jump to %q, which is nowhere", label))
		}
		binary.NativeEndian.PutUint16(c.bytes[at*8+2:], uint16(to-at-1))
	}
	return c.bytes
}
