//! Free ports.

use std::fs::{self, File, TryLockError};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};

use anyhow::{Context, Result, bail};

/// A block of ports that no other test has while this lives.
///
/// A lock on a file keeps other tests away. Ports that somebody else has are passed over.
#[derive(Debug)]
pub struct Ports {
    next: u16,
    first: u16,
    _lock: File,
}

impl Ports {
    /// Claims a block.
    ///
    /// # Errors
    /// When all blocks are taken, or the lock files can't be written.
    pub fn claim() -> Result<Self> {
        Self::claim_one_of((LOWEST..HIGHEST).step_by(usize::from(BLOCK)))
    }

    /// Claims a block from the other end, which only those get who publish ports of a container: two minutes
    /// long, even when the container is gone, the kernel goes on to send there what comes from an address that
    /// has sent there before. A phone of another test at that port would reach nobody.
    ///
    /// # Errors
    /// When all blocks are taken, or the lock files can't be written.
    pub fn claim_published() -> Result<Self> {
        Self::claim_one_of((LOWEST..HIGHEST).step_by(usize::from(BLOCK)).rev())
    }

    fn claim_one_of(blocks: impl Iterator<Item = u16>) -> Result<Self> {
        // One for each user of the machine: nobody can lock another's files.
        let user = rustix::process::geteuid().as_raw();
        let folder = std::env::temp_dir().join(format!("dialtone-interop-ports-{user}"));
        fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
        for first in blocks {
            let lock = File::create(folder.join(first.to_string()))?;
            match lock.try_lock() {
                Ok(()) => {
                    return Ok(Self {
                        next: first,
                        first,
                        _lock: lock,
                    });
                }
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(error.into()),
            }
        }
        bail!("all blocks of ports are taken");
    }

    /// A port that is free on 127.0.0.1 for UDP and TCP.
    ///
    /// # Errors
    /// When the block is used up.
    pub fn port(&mut self) -> Result<u16> {
        self.range(1).map(|(port, _)| port)
    }

    /// First and last of `count` consecutive free ports; the first is even.
    ///
    /// # Errors
    /// When the block is used up.
    pub fn range(&mut self, count: u16) -> Result<(u16, u16)> {
        loop {
            let first = self.next + self.next % 2;
            if first + count > self.first + BLOCK {
                bail!("the block of ports from {} is used up", self.first);
            }
            self.next = first + count;
            if (first..self.next).all(is_free) {
                return Ok((first, self.next - 1));
            }
        }
    }

    /// The first and last port of the block.
    #[must_use]
    pub fn block(&self) -> (u16, u16) {
        (self.first, self.first + BLOCK - 1)
    }
}

fn is_free(port: u16) -> bool {
    let address = (Ipv4Addr::LOCALHOST, port);
    UdpSocket::bind(address).is_ok() && TcpListener::bind(address).is_ok()
}

/// Over the ports that people like to give to servers, and below those that the kernel hands out
/// (32768 and up).
const LOWEST: u16 = 23_000;
const HIGHEST: u16 = 32_600;
const BLOCK: u16 = 400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_and_ports_differ() {
        let (mut one, mut two) = (Ports::claim().unwrap(), Ports::claim().unwrap());
        assert_ne!(one.block(), two.block());
        assert_ne!(one.port().unwrap(), one.port().unwrap());
        let (first, last) = two.range(10).unwrap();
        assert_eq!((first % 2, last), (0, first + 9));
    }

    #[test]
    fn taken_ports_are_passed_over() {
        let mut ports = Ports::claim().unwrap();
        let free = ports.port().unwrap();
        let _taken = UdpSocket::bind((Ipv4Addr::LOCALHOST, free)).unwrap();
        ports.next = free;
        assert!(ports.port().unwrap() > free);
    }
}
