//! The system call bpf(2): maps, programs and what ties a program to an interface.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use crate::asm::Instruction;

/// A hash map from `K` to `V` that the kernel and we write. Both are plain octets and words without padding.
#[derive(Debug)]
pub(crate) struct Table<K, V> {
    fd: OwnedFd,
    of: std::marker::PhantomData<fn(K) -> V>,
}

impl<K: Copy, V: Copy> Table<K, V> {
    /// A table with room for `capacity` entries, whose memory is taken when they come.
    pub(crate) fn new(capacity: u32) -> io::Result<Self> {
        let attributes = MapCreate {
            map_type: MAP_TYPE_HASH,
            key_size: size_of::<K>() as u32,
            value_size: size_of::<V>() as u32,
            max_entries: capacity,
            map_flags: F_NO_PREALLOC,
        };
        // SAFETY: the structure is the head of the union for this command.
        let fd = unsafe { descriptor(MAP_CREATE, &attributes)? };
        let of = std::marker::PhantomData;
        Ok(Self { fd, of })
    }

    pub(crate) fn descriptor(&self) -> i32 {
        self.fd.as_raw_fd()
    }

    /// Adds an entry; fails if there is one with this key, or no room.
    pub(crate) fn insert(&self, key: &K, value: &V) -> io::Result<()> {
        let element = self.element(key, std::ptr::from_ref(value).cast_mut(), NOEXIST);
        // SAFETY: key and value are of the sizes that the map was made with, and are only read.
        unsafe { call(MAP_UPDATE_ELEM, &element) }.map(drop)
    }

    /// A copy of an entry.
    pub(crate) fn read(&self, key: &K) -> io::Result<V> {
        self.copy(MAP_LOOKUP_ELEM, key)
    }

    /// Takes an entry out.
    pub(crate) fn remove(&self, key: &K) -> io::Result<V> {
        self.copy(MAP_LOOKUP_AND_DELETE_ELEM, key)
    }

    fn copy(&self, command: libc::c_long, key: &K) -> io::Result<V> {
        let mut value = std::mem::MaybeUninit::<V>::uninit();
        let element = self.element(key, value.as_mut_ptr(), 0);
        // SAFETY: key and value are of the sizes that the map was made with; the kernel writes all of the value
        // if it succeeds, and V is made of integers, which take any octets.
        unsafe {
            call(command, &element)?;
            Ok(value.assume_init())
        }
    }

    fn element(&self, key: &K, value: *mut V, flags: u64) -> Element {
        Element {
            map: self.fd.as_raw_fd() as u32,
            padding: 0,
            key: std::ptr::from_ref(key) as u64,
            value: value as u64,
            flags,
        }
    }
}

/// Hands a program for XDP to the kernel, which checks it.
///
/// # Errors
/// The text of [`io::ErrorKind::InvalidInput`] is the end of what the verifier says.
pub(crate) fn load(code: &[Instruction], licence: &CStr) -> io::Result<OwnedFd> {
    let attempt = |log: &mut [u8]| {
        let attributes = ProgramLoad {
            program_type: PROG_TYPE_XDP,
            instruction_count: code.len() as u32,
            instructions: code.as_ptr() as u64,
            licence: licence.as_ptr() as u64,
            log_level: u32::from(!log.is_empty()),
            log_size: log.len() as u32,
            log_buffer: if log.is_empty() {
                0
            } else {
                log.as_mut_ptr() as u64
            },
            kernel_version: 0,
            flags: 0,
            name: *b"dialtone_relay\0\0",
        };
        // SAFETY: the pointers are to what lives until the call is over, with the lengths given.
        unsafe { descriptor(PROG_LOAD, &attributes) }
    };
    // The log costs time and memory, and is wanted only when something is wrong.
    match attempt(&mut []) {
        Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EACCES)) => {
            let mut log = vec![0; LOG];
            let error = attempt(&mut log).err().unwrap_or(error);
            Err(explained(&error, &log))
        }
        result => result,
    }
}

fn explained(error: &io::Error, log: &[u8]) -> io::Error {
    let text = String::from_utf8_lossy(log.split(|byte| *byte == 0).next().unwrap_or_default());
    // Who lacks CAP_PERFMON may load a program, but none that computes with addresses.
    if text.contains("!root") {
        return io::Error::from_raw_os_error(libc::EPERM);
    }
    let lines: Vec<_> = text.lines().rev().take(LINES).collect();
    let lines = lines.into_iter().rev().collect::<Vec<_>>().join("\n");
    io::Error::new(io::ErrorKind::InvalidInput, format!("{error}: {lines}"))
}

/// Ties a program to an interface, until the descriptor is closed. `flags` choose between the driver and what stands
/// in for it.
pub(crate) fn attach(program: &OwnedFd, interface: u32, flags: u32) -> io::Result<OwnedFd> {
    let attributes = LinkCreate {
        program: program.as_raw_fd() as u32,
        interface,
        attach_type: ATTACH_TYPE_XDP,
        flags,
    };
    // SAFETY: the structure is the head of the union for this command.
    unsafe { descriptor(LINK_CREATE, &attributes) }
}

/// What became of a frame that was given to a program outside the network.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// What the program says: an `enum xdp_action`.
    pub action: u32,
    /// The frame as the program leaves it.
    pub frame: Vec<u8>,
    /// What one run took on average, in nanoseconds.
    pub nanoseconds: u32,
}

/// Runs a program with `frame`, as if it came from the loopback interface.
pub(crate) fn run(program: &OwnedFd, frame: &[u8], repeat: u32) -> io::Result<Outcome> {
    let mut out = vec![0; frame.len() + 256];
    let mut attributes = TestRun {
        program: program.as_raw_fd() as u32,
        result: 0,
        size_in: frame.len() as u32,
        size_out: out.len() as u32,
        data_in: frame.as_ptr() as u64,
        data_out: out.as_mut_ptr() as u64,
        repeat,
        duration: 0,
    };
    // SAFETY: the kernel reads and writes inside the lengths given, and writes into the structure, which is
    // borrowed mutably.
    unsafe { call(PROG_TEST_RUN, std::ptr::from_mut(&mut attributes))? };
    out.truncate(attributes.size_out as usize);
    Ok(Outcome {
        action: attributes.result,
        frame: out,
        nanoseconds: attributes.duration,
    })
}

/// # Safety
/// `attributes` is the head of `union bpf_attr` for `command`, and what its pointers point to is there.
unsafe fn call<T>(command: libc::c_long, attributes: *const T) -> io::Result<libc::c_long> {
    // SAFETY: as above; the size tells the kernel how much of the union there is.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attributes, size_of::<T>()) };
    match result {
        0.. => Ok(result),
        _ => Err(io::Error::last_os_error()),
    }
}

/// # Safety
/// As for [`call`]; the command gives a descriptor.
unsafe fn descriptor<T>(command: libc::c_long, attributes: &T) -> io::Result<OwnedFd> {
    // SAFETY: as above; a descriptor that was just given is nobody else's. It is closed on exec.
    unsafe {
        let fd = call(command, attributes)?;
        Ok(OwnedFd::from_raw_fd(fd as i32))
    }
}

#[repr(C)]
struct MapCreate {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
}

#[repr(C)]
struct Element {
    map: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

#[repr(C)]
struct ProgramLoad {
    program_type: u32,
    instruction_count: u32,
    instructions: u64,
    licence: u64,
    log_level: u32,
    log_size: u32,
    log_buffer: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
}

#[repr(C)]
struct LinkCreate {
    program: u32,
    interface: u32,
    attach_type: u32,
    flags: u32,
}

#[repr(C)]
struct TestRun {
    program: u32,
    result: u32,
    size_in: u32,
    size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
}

// enum bpf_cmd
const MAP_CREATE: libc::c_long = 0;
const MAP_LOOKUP_ELEM: libc::c_long = 1;
const MAP_UPDATE_ELEM: libc::c_long = 2;
const PROG_LOAD: libc::c_long = 5;
const PROG_TEST_RUN: libc::c_long = 10;
const MAP_LOOKUP_AND_DELETE_ELEM: libc::c_long = 21;
const LINK_CREATE: libc::c_long = 28;

const MAP_TYPE_HASH: u32 = 1;
const F_NO_PREALLOC: u32 = 1;
const NOEXIST: u64 = 1;
const PROG_TYPE_XDP: u32 = 6;
const ATTACH_TYPE_XDP: u32 = 37;
/// XDP_FLAGS_SKB_MODE and XDP_FLAGS_DRV_MODE.
pub(crate) const GENERIC: u32 = 1 << 1;
pub(crate) const NATIVE: u32 = 1 << 2;
/// What the verifier may write, and how many of its last lines are told.
const LOG: usize = 1 << 20;
const LINES: usize = 8;
