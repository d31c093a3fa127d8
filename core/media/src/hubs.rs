//! The shared ports of a worker.

use std::net::{IpAddr, SocketAddr};
use std::ops::{Index, IndexMut};

use rustix::io::Errno;

use crate::Refusal;
use crate::hub::Hub;
use crate::ports::refusal;
use crate::socket::Socket;
use crate::transport::Outlet;

/// Ports that legs share. A port is bound when it is first needed and stays so: at first one on each
/// local address, the others as more calls begin at the same moment than there are ports.
#[derive(Debug)]
pub(crate) struct Hubs {
    ports: Vec<u16>,
    dscp: u8,
    list: Vec<Hub>,
}

impl Hubs {
    /// For these ports on each local address.
    pub(crate) fn new(ports: Vec<u16>, dscp: u8) -> Self {
        Self {
            ports,
            dscp,
            list: Vec::new(),
        }
    }

    /// Finds a port on `ip` for one more leg: the one where the fewest legs wait for their party. Says
    /// whether it has just been bound.
    ///
    /// # Errors
    /// No port can be bound, or each has [`MAX_LEGS`].
    pub(crate) fn acquire(&mut self, ip: IpAddr) -> Result<(usize, bool), Refusal> {
        let here = |hub: &&(usize, &Hub)| hub.1.outlet.address().ip() == ip;
        let best = self.list.iter().enumerate().filter(|hub| here(&hub));
        let best = best.min_by_key(|(_, hub)| hub.load());
        let best = best.map(|(index, hub)| (index, hub.load()));
        match best {
            Some((index, (0, legs))) if legs < MAX_LEGS => Ok((index, false)),
            best => match (self.bind(ip), best) {
                (Ok(index), _) => Ok((index, true)),
                (Err(_), Some((index, (_, legs)))) if legs < MAX_LEGS => Ok((index, false)),
                (Err(refusal), _) => Err(refusal),
            },
        }
    }

    fn bind(&mut self, ip: IpAddr) -> Result<usize, Refusal> {
        let mut error = Refusal::NoPorts;
        for port in &self.ports {
            let address = SocketAddr::new(ip, *port);
            if self.list.iter().any(|hub| hub.outlet.address() == address) {
                continue;
            }
            match Socket::bind_all(address, self.dscp, SOCKETS) {
                Ok(sockets) => {
                    self.list.push(Hub::new(Outlet::new(address, sockets)));
                    return Ok(self.list.len() - 1);
                }
                // Another process has it.
                Err(Errno::ADDRINUSE) => {}
                Err(errno) => error = refusal(errno),
            }
        }
        Err(error)
    }

    /// Takes the port back that was bound last, since it can't be used after all.
    pub(crate) fn give_up(&mut self) {
        self.list.pop();
    }

    /// Sends what has gathered at each port.
    pub(crate) fn flush(&self) {
        self.list.iter().for_each(|hub| hub.outlet.flush());
    }
}

impl Index<usize> for Hubs {
    type Output = Hub;

    /// The port with this number.
    fn index(&self, hub: usize) -> &Hub {
        &self.list[hub]
    }
}

impl IndexMut<usize> for Hubs {
    fn index_mut(&mut self, hub: usize) -> &mut Hub {
        &mut self.list[hub]
    }
}

/// Sockets of one port.
pub(crate) const SOCKETS: usize = 8;
/// A port serves so many legs; the next call is refused.
const MAX_LEGS: usize = 20_000;
