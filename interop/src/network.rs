//! A machine with a network of its own, where every port is free, and another machine at its Ethernet.

use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::podman::done;

/// The address of the machine.
pub const MACHINE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
/// The address of the other one.
pub const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 7);

/// Both machines; their network is gone when this is dropped.
#[derive(Debug)]
pub struct Network {
    machine: String,
    client: String,
}

impl Network {
    /// Makes both; `None`, and a word about it, where the system does not allow that.
    ///
    /// # Errors
    /// When they can't be connected.
    pub fn new() -> Result<Option<Self>> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("dialtone-{}-{number}", std::process::id());
        let network = Self {
            machine: format!("{name}-machine"),
            client: format!("{name}-client"),
        };
        for name in [&network.machine, &network.client] {
            if let Err(error) = ip(&format!("netns add {name}")) {
                eprintln!("skipped: no network namespaces: {error:#}");
                return Ok(None);
            }
        }
        network.connect()?;
        Ok(Some(network))
    }

    fn connect(&self) -> Result<()> {
        let Self { machine, client } = self;
        ip(&format!(
            "link add eth0 netns {machine} type veth peer name eth0 netns {client}"
        ))?;
        for (name, address, other) in [(machine, MACHINE, CLIENT), (client, CLIENT, MACHINE)] {
            ip(&format!("-n {name} addr add {address}/24 dev eth0"))?;
            ip(&format!("-n {name} link set lo up"))?;
            ip(&format!("-n {name} link set eth0 up"))?;
            // Browsers look for a way out before they believe that they are connected.
            ip(&format!("-n {name} route add default via {other}"))?;
        }
        Ok(())
    }

    /// Does something on the machine; programs that are started there stay there.
    ///
    /// # Errors
    /// When nobody gets there, and what the work says.
    pub fn machine<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        within(&self.machine, work)
    }

    /// Does something on the other machine.
    ///
    /// # Errors
    /// When nobody gets there, and what the work says.
    pub fn client<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        within(&self.client, work)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for name in [&self.machine, &self.client] {
            // Fails only when there is none.
            let _ = ip(&format!("netns del {name}"));
        }
    }
}

fn within<T: Send>(name: &str, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let path = format!("/run/netns/{name}");
    let space = File::open(&path).with_context(|| format!("open {path}"))?;
    let work = || {
        move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network))?;
        work()
    };
    let done = std::thread::scope(|scope| scope.spawn(work).join());
    done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn ip(arguments: &str) -> Result<()> {
    done(Command::new("ip").args(arguments.split(' '))).map(drop)
}
