//! The lab as a whole: its machines, and how they are joined.

use std::collections::BTreeMap;
use std::fmt::{Display, Write};
use std::fs::{self, Permissions};
use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use tempfile::TempDir;

use super::counts::Counts;
use super::operator::Operator;
use super::router::{Router, counter};
use super::space::Space;
use super::{PORT, permission, rules};
use crate::{Program, binary};

const RELAY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
const DIRECT: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 21);
const NORTH: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
const SOUTH: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 130);

/// A relay, two sites behind routers, a client that nothing stands before, and
/// the internet between them.
#[derive(Debug)]
pub struct Lab {
    /// Where the relay runs.
    pub relay: Host,
    /// c1, c2 and c3.
    pub north: Site<3>,
    /// e1 and e2, with the addresses of c1 and c2.
    pub south: Site<2>,
    /// A client that UDP reaches.
    pub d1: Host,
    internet: Space,
    dir: TempDir,
    built: Instant,
}

/// A router, a switch, and the clients behind them.
#[derive(Debug)]
pub struct Site<const N: usize> {
    /// The only way out.
    pub router: Router,
    /// The machines of the site.
    pub clients: [Host; N],
    /// What joins them.
    switch: Space,
}

/// A machine with one interface.
#[derive(Debug)]
pub struct Host {
    pub(super) space: Space,
    /// What it calls itself.
    pub name: &'static str,
    /// Its only address but for loopback.
    pub address: Ipv4Addr,
}

impl Host {
    /// What went through it so far.
    ///
    /// # Panics
    /// When it is not counted.
    pub fn counts(&self) -> Counts {
        Counts::of(&self.space)
    }

    /// Sends a datagram, as anyone could.
    ///
    /// # Panics
    /// When the host itself can not send it.
    pub fn send_datagram(&self, to: Ipv4Addr, bytes: &[u8]) {
        let send = || UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?.send_to(bytes, (to, PORT));
        let sent = self.space.inside(send).expect("a datagram");
        assert_eq!(sent, bytes.len());
    }

    /// From now on no datagram leaves it, whatever its programs send.
    pub fn mute(&self) {
        self.space.rules(rules::MUTE);
    }

    /// Listens where a relay would.
    ///
    /// # Panics
    /// When something else does.
    pub fn listen(&self) -> TcpListener {
        let listen = || TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT));
        self.space.inside(listen).expect("a port")
    }

    /// Connects to where a relay would listen.
    ///
    /// # Errors
    /// As the system says.
    pub fn connect(&self, to: Ipv4Addr) -> io::Result<TcpStream> {
        self.space.inside(|| TcpStream::connect((to, PORT)))
    }

    fn folder(&self, lab: &Lab) -> PathBuf {
        lab.dir.path().join(self.name)
    }
}

impl Lab {
    /// Builds it. Where it can not be built, the reason is printed and there is
    /// none.
    ///
    /// # Panics
    /// When something goes wrong, or TAUTLINE_LAB is `required` and it can not
    /// be built.
    pub fn build() -> Option<Self> {
        static LABS: AtomicU32 = AtomicU32::new(1);
        if !permission::is_granted() {
            return None;
        }
        let builder = Builder {
            lab: LABS.fetch_add(1, Ordering::Relaxed),
        };
        let internet = builder.space("internet");
        internet.rules(rules::INTERNET);
        internet.sysctl("ipv4/ip_forward", 1);
        Some(Self {
            relay: builder.host(&internet, "relay", RELAY),
            d1: builder.host(&internet, "d1", DIRECT),
            north: builder.site(&internet, "north", NORTH, ["c1", "c2", "c3"]),
            south: builder.site(&internet, "south", SOUTH, ["e1", "e2"]),
            internet,
            dir: tempfile::tempdir().expect("a folder"),
            built: Instant::now(),
        })
    }

    /// Starts the relay with these lines of configuration beside its address,
    /// and waits until it serves.
    ///
    /// # Panics
    /// When it does not.
    pub fn start_relay(&self, settings: &str) -> Program {
        static PATH: LazyLock<PathBuf> = LazyLock::new(|| binary("tautlined"));
        let own = format!(
            "data_dir = {:?}\n\
             listen.addresses = [\"0.0.0.0:{PORT}\"]\n\
             listen.secrets_over_plaintext = true\n",
            self.relay.folder(self),
        );
        let file = self.configure(&self.relay, &own, settings);
        let mut command = self.relay.space.command(&*PATH);
        let mut program = Program::start(command.arg("--config").arg(file), &self.log(&self.relay));
        program.wait_for_log("/#token=");
        program
    }

    /// Starts an agent with these lines of configuration beside its name and
    /// its relay. One that is started again is the same client.
    ///
    /// # Panics
    /// When it can not be started.
    pub fn start_agent(&self, host: &Host, settings: &str) -> Program {
        static PATH: LazyLock<PathBuf> = LazyLock::new(|| binary("tautline"));
        let own = format!(
            "data_dir = {:?}\n\
             relay.addresses = \"http://{}:{PORT}\"\n\
             relay.secrets_over_plaintext = true\n\
             client.hostname = {:?}\n",
            host.folder(self),
            self.relay.address,
            host.name,
        );
        let file = self.configure(host, &own, settings);
        let mut command = host.space.command(&*PATH);
        let command = command.args(["agent", "--config"]).arg(file);
        Program::start(command, &self.log(host))
    }

    /// Gives a host the identity of another one's agent, as happens where a
    /// disk is copied.
    ///
    /// # Panics
    /// When the other one has none.
    pub fn copy_identity(&self, from: &Host, to: &Host) {
        let file = |host: &Host| host.folder(self).join("agent/client.json");
        let (of_from, of_to) = (file(from), file(to));
        let folder = of_to.parent().expect("a folder");
        fs::create_dir_all(folder).expect("a folder");
        for folder in [folder, &to.folder(self)] {
            fs::set_permissions(folder, Permissions::from_mode(0o700)).expect("an owner");
        }
        fs::copy(of_from, of_to).expect("an identity");
    }

    /// The operator of the relay, once that has been started.
    ///
    /// # Panics
    /// When it never was.
    pub fn operator(&self) -> Operator<'_> {
        Operator::new(&self.relay, &self.relay.folder(self))
    }

    /// Every machine that an agent can run on.
    pub fn hosts(&self) -> impl Iterator<Item = &Host> {
        let north = self.north.clients.iter();
        north.chain(&self.south.clients).chain([&self.d1])
    }

    /// What went through each machine while something was done, by its name.
    ///
    /// # Panics
    /// As `act` does.
    pub fn watch(&self, act: impl FnOnce()) -> BTreeMap<&'static str, Counts> {
        let all = || self.hosts().chain([&self.relay]);
        let before: Vec<_> = all().map(Host::counts).collect();
        act();
        let pairs = all().zip(before);
        pairs
            .map(|(host, before)| (host.name, host.counts().since(&before)))
            .collect()
    }

    /// Pulls a machine's cable: nothing comes or goes any more, and nobody is
    /// told.
    pub fn unplug(&self, host: &Host) {
        self.set_cable(host, "down");
    }

    /// The end of [`unplug`](Self::unplug).
    pub fn plug_in(&self, host: &Host) {
        self.set_cable(host, "up");
    }

    /// The other end of it is at the site's switch, else at the internet.
    fn set_cable(&self, host: &Host, state: &str) {
        let is_it = |one: &Host| one.name == host.name;
        let at = if self.north.clients.iter().any(is_it) {
            &self.north.switch
        } else if self.south.clients.iter().any(is_it) {
            &self.south.switch
        } else {
            &self.internet
        };
        at.links(&format!("link set {} {state}\n", host.name));
    }

    /// Prints a line of the story, with the seconds since the lab was built.
    pub fn tell(&self, what: impl Display) {
        println!("{:6.1} s  {what}", self.built.elapsed().as_secs_f32());
    }

    /// Packets that came to the internet with a private address.
    ///
    /// # Panics
    /// When they are not counted.
    pub fn strays(&self) -> u64 {
        counter(&self.internet, "counter ip internet strays")
    }

    fn configure(&self, host: &Host, own: &str, settings: &str) -> PathBuf {
        let file = self.dir.path().join(format!("{}.toml", host.name));
        fs::write(&file, format!("{own}{settings}\n")).expect("a file");
        file
    }

    fn log(&self, host: &Host) -> PathBuf {
        self.dir.path().join(format!("{}.log", host.name))
    }
}

impl Drop for Lab {
    /// Of a test that failed, all logs are shown.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let mut text = String::new();
        for host in self.hosts().chain([&self.relay]) {
            if let Ok(log) = fs::read(self.log(host)) {
                let log = String::from_utf8_lossy(&log);
                // A text takes everything.
                let _ = write!(text, "\n== {}\n{log}", host.name);
            }
        }
        eprintln!("{text}");
    }
}

/// Makes the machines of one lab.
struct Builder {
    lab: u32,
}

impl Builder {
    fn space(&self, host: &str) -> Space {
        let made = Space::make(permission::name(self.lab, host));
        made.unwrap_or_else(|error| panic!("{host}: {error}"))
    }

    /// A host on a line of its own.
    fn host(&self, at: &Space, name: &'static str, address: Ipv4Addr) -> Host {
        let space = self.space(name);
        at.join(name, &space, "eth0");
        let gateway = gateway(address);
        at.links(&format!("addr add {gateway}/25 dev {name}\n"));
        Self::settle(space, name, address, gateway, 25)
    }

    fn settle(
        space: Space,
        name: &'static str,
        address: Ipv4Addr,
        gateway: Ipv4Addr,
        prefix: u8,
    ) -> Host {
        space.links(&format!(
            "addr add {address}/{prefix} dev eth0\nroute add default via {gateway}\n"
        ));
        space.rules(rules::COUNTERS);
        Host {
            space,
            name,
            address,
        }
    }

    fn site<const N: usize>(
        &self,
        internet: &Space,
        name: &'static str,
        address: Ipv4Addr,
        clients: [&'static str; N],
    ) -> Site<N> {
        let router = self.space(&format!("{name}-router"));
        internet.join(name, &router, "wan");
        let provider = gateway(address);
        internet.links(&format!("addr add {provider}/25 dev {name}\n"));
        // A namespace of its own: what only the switch sees, no rule sees.
        let switch = self.space(&format!("{name}-switch"));
        switch.links("link add switch type bridge\nlink set switch up\n");
        switch.join("router", &router, "lan");
        switch.links("link set router master switch\n");
        router.links(&format!(
            "addr add {address}/25 dev wan\naddr add 192.168.1.1/24 dev lan\n"
        ));
        let mut last = 10;
        let clients = clients.map(|client| {
            let space = self.space(client);
            switch.join(client, &space, "eth0");
            switch.links(&format!("link set {client} master switch\n"));
            last += 1;
            let address = Ipv4Addr::new(192, 168, 1, last);
            Self::settle(space, client, address, Ipv4Addr::new(192, 168, 1, 1), 24)
        });
        Site {
            router: Router::new(router, address, provider),
            clients,
            switch,
        }
    }
}

/// The first address of a network of 25 bits.
fn gateway(address: Ipv4Addr) -> Ipv4Addr {
    Ipv4Addr::from_bits((address.to_bits() & !0x7f) + 1)
}
