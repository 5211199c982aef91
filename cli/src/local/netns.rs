//! Work in another network namespace: sockets and interfaces belong to the one of the thread that makes them.
use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::Arc;

use tokio::net::{TcpSocket, TcpStream};

use super::clone::check;

#[derive(Clone, Debug)]
pub struct Netns(Arc<File>);

/// An end of the wire: name and addresses of its interface.
#[derive(Clone, Debug)]
pub struct Interface {
    pub name: String,
    pub mac: [u8; 6],
    pub address: Ipv4Addr,
    pub prefix: u8,
    pub gateway: Option<Ipv4Addr>,
}

impl From<File> for Netns {
    fn from(file: File) -> Netns {
        Netns(Arc::new(file))
    }
}

impl Netns {
    /// A new one, empty but for its loopback.
    pub fn new() -> io::Result<Netns> {
        on_thread(|| {
            // SAFETY: no memory is involved; the thread ends with this closure.
            check(unsafe { libc::unshare(libc::CLONE_NEWNET) })?;
            up("lo")?;
            Ok(Netns::from(File::open("/proc/thread-self/ns/net")?))
        })
    }

    pub fn run<T: Send>(&self, work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
        on_thread(|| {
            // SAFETY: as above.
            check(unsafe { libc::setns(self.0.as_raw_fd(), libc::CLONE_NEWNET) })?;
            work()
        })
    }

    /// A connection from here.
    pub async fn connect(&self, address: Ipv4Addr, port: u16) -> io::Result<TcpStream> {
        // Tokio's own sockets have to be made on its thread.
        let socket = self.run(|| {
            use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            Ok(socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?)
        })?;
        let socket = TcpSocket::from_std_stream(std::net::TcpStream::from(socket));
        socket.connect(SocketAddr::from((address, port))).await
    }

    /// Makes the interface, up and with its address; its other end is returned.
    pub fn tap(&self, interface: &Interface) -> io::Result<OwnedFd> {
        self.run(|| {
            up("lo")?;
            let tap = tap(&interface.name)?;
            configure(interface)?;
            Ok(tap)
        })
    }
}

/// The same where this thread is, if no other interface leads there.
pub fn tap_here(interface: &Interface) -> io::Result<OwnedFd> {
    let routes = std::fs::read_to_string("/proc/net/route")?;
    if let Some(other) = leads_to(&routes, interface.address, interface.prefix) {
        let network = format!("the network of {}/{}", interface.address, interface.prefix);
        return Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            format!("the interface {other} leads to {network} already"),
        ));
    }
    let tap = tap(&interface.name)?;
    configure(interface)?;
    Ok(tap)
}

/// Who has a route into this network; not one that this network is a part of.
fn leads_to(routes: &str, address: Ipv4Addr, prefix: u8) -> Option<String> {
    let mask = u32::MAX << (32 - prefix);
    let number = |digits: &str| u32::from_str_radix(digits, 16).map(u32::swap_bytes).ok();
    routes.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (to, of) = (number(fields.get(1)?)?, number(fields.get(7)?)?);
        let inside = of & mask == mask && to & mask == u32::from(address) & mask;
        inside.then(|| fields[0].to_string())
    })
}

fn on_thread<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    std::thread::scope(|scope| scope.spawn(work).join().expect("no panic"))
}

fn tap(name: &str) -> io::Result<OwnedFd> {
    let file = File::options()
        .read(true)
        .write(true)
        .open("/dev/net/tun")
        .map_err(|error| io::Error::new(error.kind(), format!("/dev/net/tun: {error}")))?;
    let mut request = request(name);
    request.ifr_ifru.ifru_flags = (libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR) as i16;
    // SAFETY: the request is a whole ifreq; the other argument is a number.
    unsafe {
        check(libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF as _, &raw mut request))?;
        let flags = libc::fcntl(file.as_raw_fd(), libc::F_GETFL);
        check(libc::fcntl(file.as_raw_fd(), libc::F_SETFL, flags | libc::O_NONBLOCK))?;
    }
    crate::wire::offload(&file, true)?;
    Ok(OwnedFd::from(file))
}

fn configure(interface: &Interface) -> io::Result<()> {
    let socket = socket()?;
    let call = |code: libc::c_ulong, mut request: libc::ifreq| {
        // SAFETY: the request is a whole ifreq.
        check(unsafe { libc::ioctl(socket.as_raw_fd(), code as _, &raw mut request) })
    };
    let mut mac = request(&interface.name);
    let mut hardware = libc::sockaddr {
        sa_family: libc::ARPHRD_ETHER,
        sa_data: [0; 14],
    };
    for (to, from) in hardware.sa_data.iter_mut().zip(interface.mac) {
        *to = from as libc::c_char;
    }
    mac.ifr_ifru.ifru_hwaddr = hardware;
    call(libc::SIOCSIFHWADDR, mac)?;
    let mut address = request(&interface.name);
    address.ifr_ifru.ifru_addr = sockaddr(interface.address);
    call(libc::SIOCSIFADDR, address)?;
    let mut mask = request(&interface.name);
    mask.ifr_ifru.ifru_netmask = sockaddr(Ipv4Addr::from(u32::MAX << (32 - interface.prefix)));
    call(libc::SIOCSIFNETMASK, mask)?;
    up(&interface.name)?;
    if let Some(gateway) = interface.gateway {
        // SAFETY: zero is a valid route entry, and the whole of it is passed.
        unsafe {
            let mut route: libc::rtentry = std::mem::zeroed();
            route.rt_dst = sockaddr(Ipv4Addr::UNSPECIFIED);
            route.rt_genmask = sockaddr(Ipv4Addr::UNSPECIFIED);
            route.rt_gateway = sockaddr(gateway);
            route.rt_flags = libc::RTF_UP | libc::RTF_GATEWAY;
            check(libc::ioctl(socket.as_raw_fd(), libc::SIOCADDRT as _, &raw mut route))?;
        }
    }
    Ok(())
}

fn up(name: &str) -> io::Result<()> {
    let socket = socket()?;
    let mut request = request(name);
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as i16;
    // SAFETY: the request is a whole ifreq.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw mut request) })
}

fn socket() -> io::Result<OwnedFd> {
    // SAFETY: a system call on numbers; the descriptor is ours alone.
    unsafe {
        let fd = libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0);
        check(fd)?;
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

fn request(name: &str) -> libc::ifreq {
    // SAFETY: zero is a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name[..libc::IFNAMSIZ - 1].iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    request
}

fn sockaddr(address: Ipv4Addr) -> libc::sockaddr {
    let address = libc::sockaddr_in {
        sin_family: libc::AF_INET as u16,
        sin_port: 0,
        sin_addr: libc::in_addr {
            s_addr: u32::from(address).to_be(),
        },
        sin_zero: [0; 8],
    };
    // SAFETY: both are 16 bytes, and a sockaddr is meant to be read as its family says.
    unsafe { std::mem::transmute::<libc::sockaddr_in, libc::sockaddr>(address) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_taken_by_a_route_into_it() {
        const ROUTES: &str = "\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
lab-1\t000811AC\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
tun0\t010911AC\t00000000\t0005\t0\t0\t0\tFFFFFFFF\t0\t0\t0
";
        let of = |third| leads_to(ROUTES, Ipv4Addr::new(172, 17, third, 2), 24);
        assert_eq!(of(8).as_deref(), Some("lab-1"));
        assert_eq!(of(9).as_deref(), Some("tun0"));
        assert_eq!(of(10), None, "docker's is wider, and gives way");
    }
}
