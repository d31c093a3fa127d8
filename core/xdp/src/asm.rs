//! An assembler for the kernel's BPF machine: as much of it as our program uses.
//!
//! One method is one instruction. Jumps go to [`Label`]s, which may be bound before or after they are used. There
//! is no check of what the instructions do: that is the kernel's verifier's work, which refuses a program that
//! might read where it may not, or not end.
//!
//! # Source
//! RFC 9669

/// One instruction, as the kernel takes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub(crate) struct Instruction {
    opcode: u8,
    /// Destination in the low four bits, source in the high ones.
    registers: u8,
    offset: i16,
    immediate: i32,
}

/// A register.
///
/// # Source
/// RFC 9669 §2.1; the calling convention: R0 has results, R1 to R5 arguments and are lost with each call, R6 to R9
/// survive it, R10 points behind the stack and is not written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reg {
    R0,
    R1,
    R2,
    R3,
    R4,
    R5,
    R6,
    R7,
    R8,
    R9,
    R10,
}

/// How much memory an instruction touches.
///
/// # Source
/// RFC 9669 §5, table 10
#[derive(Clone, Copy, Debug)]
pub(crate) enum Size {
    /// One octet.
    B = 0x10,
    /// Two.
    H = 0x08,
    /// Four.
    W = 0x00,
    /// Eight.
    D = 0x18,
}

/// Arithmetic on whole registers of 64 bits.
///
/// # Source
/// RFC 9669 §4.1, table 4
#[derive(Clone, Copy, Debug)]
pub(crate) enum Op {
    Add = 0x00,
    Sub = 0x10,
    Mul = 0x20,
    Or = 0x40,
    And = 0x50,
    Lsh = 0x60,
    Rsh = 0x70,
    Xor = 0xa0,
    Mov = 0xb0,
}

/// When to jump; comparisons are unsigned, of 64 bits.
///
/// # Source
/// RFC 9669 §4.3, table 8
#[derive(Clone, Copy, Debug)]
pub(crate) enum If {
    Eq = 0x10,
    Gt = 0x20,
    Ge = 0x30,
    Ne = 0x50,
    Lt = 0xa0,
}

/// The second operand.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Operand {
    Register(Reg),
    Number(i32),
}

impl From<Reg> for Operand {
    fn from(register: Reg) -> Self {
        Self::Register(register)
    }
}

impl From<i32> for Operand {
    fn from(number: i32) -> Self {
        Self::Number(number)
    }
}

/// A place in the program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Label(usize);

/// A program that is being written.
#[derive(Debug, Default)]
pub(crate) struct Asm {
    code: Vec<Instruction>,
    /// Where each label is bound.
    labels: Vec<Option<usize>>,
    /// Jumps whose way is still to be filled in.
    jumps: Vec<(usize, Label)>,
}

impl Asm {
    /// A new label, bound to no place yet.
    pub(crate) fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() - 1)
    }

    /// The next instruction is what `label` means.
    pub(crate) fn bind(&mut self, label: Label) {
        self.labels[label.0] = Some(self.code.len());
    }

    /// `to = to op with`.
    pub(crate) fn alu(&mut self, op: Op, to: Reg, with: impl Into<Operand>) {
        self.with(ALU64 | op as u8, to, 0, with.into());
    }

    /// `to = from`.
    pub(crate) fn mov(&mut self, to: Reg, from: impl Into<Operand>) {
        self.alu(Op::Mov, to, from);
    }

    /// Makes a number that is in the order of the network one of this machine, or the reverse. Of the register only
    /// so much is kept.
    ///
    /// # Source
    /// RFC 9669 §4.2
    pub(crate) fn swap_network(&mut self, size: Size, register: Reg) {
        let bits = match size {
            Size::B => return,
            Size::H => 16,
            Size::W => 32,
            Size::D => 64,
        };
        self.push(ALU | END | BY_REGISTER, register, Reg::R0, 0, bits);
    }

    /// `to = *(from + offset)`.
    pub(crate) fn load(&mut self, size: Size, to: Reg, from: Reg, offset: i16) {
        self.push(LDX | MEM | size as u8, to, from, offset, 0);
    }

    /// `*(to + offset) = from`.
    pub(crate) fn store(&mut self, size: Size, to: Reg, offset: i16, from: impl Into<Operand>) {
        match from.into() {
            Operand::Register(from) => self.push(STX | MEM | size as u8, to, from, offset, 0),
            Operand::Number(number) => {
                self.push(ST | MEM | size as u8, to, Reg::R0, offset, number);
            }
        }
    }

    /// `*(to + offset) += from`, eight octets, in one step whoever else adds there.
    ///
    /// # Source
    /// RFC 9669 §5.3
    pub(crate) fn add_atomic(&mut self, to: Reg, offset: i16, from: Reg) {
        self.push(STX | ATOMIC | Size::D as u8, to, from, offset, 0);
    }

    /// Goes to `label` if the comparison holds.
    pub(crate) fn jump_if(&mut self, test: If, one: Reg, other: impl Into<Operand>, label: Label) {
        self.jumps.push((self.code.len(), label));
        self.with(JMP | test as u8, one, 0, other.into());
    }

    /// `to` becomes a pointer to the map whose descriptor is `map`.
    ///
    /// # Source
    /// RFC 9669 §5.4
    pub(crate) fn load_map(&mut self, to: Reg, map: i32) {
        self.push(LD_IMM64, to, Reg::R1, 0, map);
        self.push(0, Reg::R0, Reg::R0, 0, 0);
    }

    /// Calls a helper of the kernel.
    pub(crate) fn call(&mut self, helper: i32) {
        self.push(JMP | CALL, Reg::R0, Reg::R0, 0, helper);
    }

    /// Ends the program; R0 is what it says.
    pub(crate) fn exit(&mut self) {
        self.push(JMP | EXIT, Reg::R0, Reg::R0, 0, 0);
    }

    /// The finished program.
    ///
    /// # Panics
    /// A label is used and not bound, or too far away: the program is wrong, whatever its input. A test writes it.
    pub(crate) fn finish(mut self) -> Vec<Instruction> {
        for (at, label) in self.jumps {
            let target = self.labels[label.0].expect("each label is bound");
            let way = target as i64 - at as i64 - 1;
            self.code[at].offset = way.try_into().expect("a jump reaches its label");
        }
        self.code
    }

    fn with(&mut self, opcode: u8, to: Reg, offset: i16, operand: Operand) {
        match operand {
            Operand::Register(from) => self.push(opcode | BY_REGISTER, to, from, offset, 0),
            Operand::Number(number) => self.push(opcode, to, Reg::R0, offset, number),
        }
    }

    fn push(&mut self, opcode: u8, to: Reg, from: Reg, offset: i16, immediate: i32) {
        self.code.push(Instruction {
            opcode,
            registers: (from as u8) << 4 | to as u8,
            offset,
            immediate,
        });
    }
}

// RFC 9669 §3: classes, modes and the source of the second operand.
const LDX: u8 = 0x01;
const ST: u8 = 0x02;
const STX: u8 = 0x03;
const ALU: u8 = 0x04;
const JMP: u8 = 0x05;
const ALU64: u8 = 0x07;
const MEM: u8 = 0x60;
const ATOMIC: u8 = 0xc0;
const LD_IMM64: u8 = 0x18;
const BY_REGISTER: u8 = 0x08;
const END: u8 = 0xd0;
const CALL: u8 = 0x80;
const EXIT: u8 = 0x90;

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(program: &[Instruction]) -> Vec<[u8; 8]> {
        let one = |i: &Instruction| {
            let [o0, o1] = i.offset.to_le_bytes();
            let [i0, i1, i2, i3] = i.immediate.to_le_bytes();
            [i.opcode, i.registers, o0, o1, i0, i1, i2, i3]
        };
        program.iter().map(one).collect()
    }

    /// RFC 9669 §3: what an assembler of others makes of the same lines.
    #[test]
    fn rfc9669_3_instructions_are_encoded() {
        let mut asm = Asm::default();
        asm.mov(Reg::R0, 2);
        asm.mov(Reg::R6, Reg::R1);
        asm.load(Size::H, Reg::R5, Reg::R2, 12);
        asm.store(Size::B, Reg::R7, 9, Reg::R1);
        asm.store(Size::D, Reg::R10, -40, 0);
        asm.alu(Op::And, Reg::R1, 0x7f);
        asm.swap_network(Size::H, Reg::R1);
        asm.add_atomic(Reg::R9, 104, Reg::R1);
        asm.call(1);
        asm.exit();
        assert_eq!(
            bytes(&asm.finish()),
            [
                [0xb7, 0x00, 0, 0, 2, 0, 0, 0],
                [0xbf, 0x16, 0, 0, 0, 0, 0, 0],
                [0x69, 0x25, 12, 0, 0, 0, 0, 0],
                [0x73, 0x17, 9, 0, 0, 0, 0, 0],
                [0x7a, 0x0a, 0xd8, 0xff, 0, 0, 0, 0],
                [0x57, 0x01, 0, 0, 0x7f, 0, 0, 0],
                [0xdc, 0x01, 0, 0, 16, 0, 0, 0],
                [0xdb, 0x19, 104, 0, 0, 0, 0, 0],
                [0x85, 0x00, 0, 0, 1, 0, 0, 0],
                [0x95, 0x00, 0, 0, 0, 0, 0, 0],
            ]
        );
    }

    #[test]
    fn rfc9669_4_3_jumps_count_from_the_next_instruction() {
        let mut asm = Asm::default();
        let (back, on) = (asm.label(), asm.label());
        asm.bind(back);
        asm.jump_if(If::Gt, Reg::R4, Reg::R3, on);
        asm.jump_if(If::Ne, Reg::R4, 7, back);
        asm.bind(on);
        asm.exit();
        let code = bytes(&asm.finish());
        assert_eq!(code[0], [0x2d, 0x34, 1, 0, 0, 0, 0, 0]);
        assert_eq!(code[1], [0x55, 0x04, 0xfe, 0xff, 7, 0, 0, 0]);
    }

    #[test]
    fn rfc9669_5_4_a_map_takes_two_places() {
        let mut asm = Asm::default();
        asm.load_map(Reg::R1, 5);
        let code = bytes(&asm.finish());
        assert_eq!(code[0], [0x18, 0x11, 0, 0, 5, 0, 0, 0]);
        assert_eq!(code[1], [0; 8]);
    }
}
