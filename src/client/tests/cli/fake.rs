//! A daemon that follows a script: it answers calls, shows a list of sights one after the other, and keeps
//! what it was asked.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use backstep_bus::names::{BUS_NAME, MANAGER_PATH, TRANSACTION_INTERFACE, transaction_path};
use backstep_bus::record::{ChangeRow, GenerationRow, InventoryRow, OriginRow, PackageStatisticsRow, RiskRow, StepStatisticsRow};
use backstep_bus::{
    BackoffRow, BlameRow, BusError, ContentsRow, IgnoreRow, ListRow, OptionValue, PackageArgument, RefusalRow, StatisticsRow,
    TransactionProperties, UndoMaterial,
};
use backstep_core::{ErrorCode, TransactionId};
use futures_util::StreamExt;
use zbus::fdo::RequestNameFlags;
use zbus::message::{Flags, Message, Type};
use zbus::{Connection, MessageStream, OwnedVariant, connection};

/// A private bus; it ends with the value.
pub(crate) struct Bus {
    child: Child,
    pub(crate) address: String,
}

impl Bus {
    pub(crate) fn start() -> Self {
        let mut child = Command::new("dbus-daemon")
            .args(["--session", "--nofork", "--nopidfile", "--print-address"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("dbus-daemon is needed for these tests");
        let mut address = String::new();
        BufReader::new(child.stdout.take().expect("stdout")).read_line(&mut address).expect("address");
        Self { child, address: address.trim().to_owned() }
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// What the daemon does.
#[derive(Debug, Clone, Default)]
pub(crate) struct Script {
    /// What planning leads to.
    pub(crate) planned: TransactionProperties,
    /// What is seen after `Execute`, one a reading; the last stays.
    pub(crate) run: Vec<TransactionProperties>,
    /// What is seen after `Cancel` while it runs.
    pub(crate) after_cancel: Vec<TransactionProperties>,
    /// What `Cancel` answers while it runs.
    pub(crate) cancel_outcome: &'static str,
    /// What `Execute` answers instead.
    pub(crate) refuse_execute: Option<(ErrorCode, String)>,
    /// The whole record; without one the caller may not see it.
    pub(crate) document: &'static str,
    /// The record is not what was written, and a copy of it does not come whole.
    pub(crate) broken: bool,
    /// How much of it had a text taken out.
    pub(crate) redacted: u64,
    /// The output of children.
    pub(crate) log: Vec<u8>,
    /// The record of files.
    pub(crate) files: &'static str,
    /// How changes of packages ended before.
    pub(crate) risks: Risks,
    /// The daemon restarts after so many readings of the run.
    pub(crate) restart_after: Option<usize>,
    /// The daemon is replaced while it plans, so quickly that nobody sees it away, and has forgotten the plan.
    pub(crate) replaced_in_planning: bool,
    /// The daemon goes after so many readings of the run and does not come back.
    pub(crate) gone_after: Option<usize>,
}

/// What the daemon says when it is asked for risks.
#[derive(Debug, Clone, Default)]
pub(crate) enum Risks {
    /// That it knows no such call: a daemon of before they were told.
    #[default]
    Unknown,
    /// Nothing, ever.
    Silence,
    /// These.
    Told(Vec<RiskRow>),
}

#[derive(Debug, Default)]
struct State {
    script: Script,
    calls: Vec<String>,
    id: String,
    phase: Phase,
    readings: usize,
    exported: bool,
    planning: bool,
}

#[derive(Debug, Default, PartialEq, Clone, Copy)]
enum Phase {
    #[default]
    Created,
    Prepared,
    Run,
    Cancelled,
}

/// The running daemon.
pub(crate) struct Daemon {
    state: Arc<Mutex<State>>,
    _thread: JoinHandle<()>,
}

impl Daemon {
    pub(crate) fn start(bus: &Bus, script: Script) -> Self {
        let state = Arc::new(Mutex::new(State { script, ..State::default() }));
        let (ready, started) = std::sync::mpsc::channel();
        let (shared, address) = (state.clone(), bus.address.clone());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
            runtime.block_on(async {
                let mut before: Option<Connection> = None;
                loop {
                    let connection = connection::Builder::address(address.as_str()).build().await.expect("connect");
                    // First the ears, then the name: no call is lost.
                    let calls = MessageStream::from(&connection);
                    let replace = RequestNameFlags::ALLOW_REPLACEMENT | RequestNameFlags::REPLACE_EXISTING;
                    connection.request_name_with_flags(BUS_NAME, replace).await.expect("name");
                    if let Some(before) = before.take() {
                        before.close().await.expect("close");
                    }
                    // Nobody waits any more after a restart.
                    ready.send(()).ok();
                    match serve(&connection, calls, &shared).await {
                        Some(Restart::Seen) => connection.close().await.expect("close"),
                        Some(Restart::Unseen) => before = Some(connection),
                        None => {
                            connection.close().await.ok();
                            return;
                        }
                    }
                }
            });
        });
        started.recv().expect("started");
        Self { state, _thread: thread }
    }

    pub(crate) fn calls(&self) -> Vec<String> {
        self.state.lock().expect("lock").calls.clone()
    }

    /// Begins to count the calls anew.
    pub(crate) fn forget(&self) {
        self.state.lock().expect("lock").calls.clear();
    }

    pub(crate) fn id(&self) -> String {
        self.state.lock().expect("lock").id.clone()
    }

    pub(crate) fn short(&self) -> String {
        self.id().parse::<TransactionId>().map(TransactionId::short).unwrap_or_default()
    }
}

/// How a daemon makes place for another.
enum Restart {
    /// For a moment there is none.
    Seen,
    /// There is always one.
    Unseen,
}

/// Answers calls until the bus ends, or until a restart is due.
async fn serve(connection: &Connection, mut calls: MessageStream, state: &Mutex<State>) -> Option<Restart> {
    while let Some(Ok(message)) = calls.next().await {
        if message.message_type() != Type::MethodCall {
            continue;
        }
        answer(connection, state, &message).await;
        let mut state = state.lock().expect("lock");
        if state.phase == Phase::Run && state.script.restart_after.is_some_and(|after| state.readings > after) {
            state.script.restart_after = None;
            state.exported = false;
            return Some(Restart::Seen);
        }
        if state.phase == Phase::Run && state.script.gone_after.is_some_and(|after| state.readings > after) {
            return None;
        }
        if state.planning && state.readings > 0 && std::mem::take(&mut state.script.replaced_in_planning) {
            return Some(Restart::Unseen);
        }
    }
    None
}

async fn answer(connection: &Connection, state: &Mutex<State>, call: &Message) {
    let header = call.header();
    let member = header.member().expect("member").as_str().to_owned();
    let manager = header.path().is_some_and(|path| path.as_str() == MANAGER_PATH);
    let result =
        if manager { on_manager(connection, state, call, &member).await } else { on_transaction(connection, state, call, &member).await };
    if let Err(error) = result {
        connection.reply_dbus_error(&header, error).await.expect("reply");
    }
}

async fn on_manager(connection: &Connection, state: &Mutex<State>, call: &Message, member: &str) -> Result<(), BusError> {
    let header = call.header();
    match member {
        "CreateTransaction" => {
            let (id, path) = create(&mut state.lock().expect("lock"), call);
            connection.reply(&header, &(id, path)).await?;
        }
        "GetTransaction" => {
            let id: String = call.body().deserialize()?;
            let path = {
                let mut state = state.lock().expect("lock");
                if id.is_empty() || !state.id.ends_with(&id) || state.id.is_empty() {
                    return Err(BusError::new(ErrorCode::TransactionUnknown, format!("no transaction {id:?}")));
                }
                state.calls.push("GetTransaction".into());
                state.exported = true;
                transaction_path(state.id.parse().expect("id"))
            };
            connection.reply(&header, &path).await?;
        }
        "ListTransactions" => {
            let row = {
                let mut state = state.lock().expect("lock");
                let filter: HashMap<String, OwnedVariant> = call.body().deserialize()?;
                let mut keys: Vec<&str> = filter.keys().map(String::as_str).collect();
                keys.sort_unstable();
                state.calls.push(format!("ListTransactions {}", keys.join(",")));
                let tags = Some(vec!["env=prod".to_owned()]).filter(|_| filter.contains_key("tag"));
                ListRow { id: state.id.clone(), kind: "install".into(), state: "completed".into(), created: 1, tags, ..ListRow::default() }
            };
            connection.reply(&header, &(vec![row],)).await?;
        }
        "ListRefusals" => {
            let row = RefusalRow {
                number: 1,
                until: 1,
                count: 12,
                method: "Submit".into(),
                user: "mallory".into(),
                program: Some("x\u{1b}]0;y\u{7}".into()),
                error_code: "auth.denied".into(),
                ..RefusalRow::default()
            };
            connection.reply(&header, &(vec![row],)).await?;
        }
        "Redact" => {
            let (text, comment, options): (String, String, HashMap<String, OwnedVariant>) = call.body().deserialize()?;
            let how = if options.contains_key("try") { "try" } else { "do" };
            state.lock().expect("lock").calls.push(format!("Redact {how} {text:?} {comment}"));
            let places = if text == "nowhere" { Vec::new() } else { vec![("events.text", 2_u64), ("output.log", 1)] };
            connection.reply(&header, &(7_u64, places, vec!["01936b2e-7c1a-7d3e-9f10-0123456789ab"])).await?;
        }
        "Archive" => {
            let (_, comment, options): (i64, String, HashMap<String, OwnedVariant>) = call.body().deserialize()?;
            state.lock().expect("lock").calls.push(format!("Archive {comment:?} {}", options.contains_key("keep")));
            let files = if comment == "nothing" { Vec::new() } else { vec!["record-0000000001-0000000009.db"] };
            connection.reply(&header, &(3 * files.len() as u64, 9 * files.len() as u64, files)).await?;
        }
        "AddBackoff" => {
            let (subject, process, _, comment, _): (String, String, i64, String, HashMap<String, OwnedVariant>) =
                call.body().deserialize()?;
            state.lock().expect("lock").calls.push(format!("AddBackoff {subject} {process} {comment}"));
            connection.reply(&header, &3_u64).await?;
        }
        "ClearBackoffs" => {
            let (subject, process, ..): (String, String, String, HashMap<String, OwnedVariant>) = call.body().deserialize()?;
            state.lock().expect("lock").calls.push(format!("ClearBackoffs {subject}/{process}"));
            connection.reply(&header, &1_u32).await?;
        }
        "ListBackoffs" => {
            let (subject, process) = (Some("jq".to_owned()), "upgrade".to_owned());
            let row = BackoffRow { number: 3, subject, process, remaining: 5_000_000, ..BackoffRow::default() };
            connection.reply(&header, &(vec![row],)).await?;
        }
        "AddIgnore" => {
            let (pattern, comment, options): (String, String, HashMap<String, OwnedVariant>) = call.body().deserialize()?;
            let mut keys: Vec<String> = options.into_keys().collect();
            keys.sort_unstable();
            state.lock().expect("lock").calls.push(format!("AddIgnore {pattern} {comment} {}", keys.join(",")));
            connection.reply(&header, &7_u64).await?;
        }
        "RemoveIgnore" => match call.body().deserialize::<(u64, String, HashMap<String, OwnedVariant>)>()?.0 {
            7 => connection.reply(&header, &()).await?,
            other => return Err(BusError::new(ErrorCode::IgnoreUnknown, format!("no ignore that holds has the number {other}"))),
        },
        "ListIgnores" => {
            let row = IgnoreRow { number: 7, pattern: "jq*".into(), comment: "why".into(), added: 1, ..IgnoreRow::default() };
            connection.reply(&header, &(vec![row],)).await?;
        }
        "GetStatistics" => {
            let row = StatisticsRow { kind: "install".into(), count: 1, ..StatisticsRow::default() };
            connection.reply(&header, &(vec![row],)).await?;
        }
        "Get" => {
            let (_, name): (String, String) = call.body().deserialize()?;
            let value = match name.as_str() {
                "Warnings" => OwnedVariant::try_from(zbus::Variant::from(vec!["the record was damaged\x1b[2J"]))?,
                _ => OwnedVariant::from(zbus::Str::from("0.fake")),
            };
            connection.reply(&header, &value).await?;
        }
        other => return on_record(connection, state, call, other).await,
    }
    Ok(())
}

/// `org.backstep1.Record`: a record of one generation, which brought hello.
async fn on_record(connection: &Connection, state: &Mutex<State>, call: &Message, member: &str) -> Result<(), BusError> {
    let header = call.header();
    let id = state.lock().expect("lock").id.clone();
    let generation = GenerationRow {
        number: 7,
        opened: 1,
        user: Some("ana".into()),
        kind: Some("install".into()),
        state: Some("completed".into()),
        transaction: Some(id.clone()),
        changes: 1,
        ..GenerationRow::default()
    };
    match member {
        "ExplainPackage" => {
            let package: String = call.body().deserialize()?;
            if package != "hello" {
                return Err(BusError::new(ErrorCode::PackageNotInstalled, format!("{package} is not installed")));
            }
            let (arch, role, kind) = ("amd64".to_owned(), "brought".to_owned(), Some("install".to_owned()));
            let row = OriginRow { package, arch, role, kind, transaction: Some(id), ..OriginRow::default() };
            connection.reply(&header, &(vec![row],)).await?;
        }
        "ListInventory" => {
            let filter: HashMap<String, OwnedVariant> = call.body().deserialize()?;
            let (arch, by) = ("amd64".to_owned(), Some("dpkg".to_owned()));
            let state = "installed".to_owned();
            let row = InventoryRow { package: "hello".into(), arch, version: "2".into(), state, by, ..InventoryRow::default() };
            // In two answers, so that readers must put them together.
            let next = if filter.contains_key("after") { "" } else { "hello:amd64" };
            connection.reply(&header, &(vec![row], next)).await?;
        }
        "FindFile" => {
            let (path, limit): (String, u32) = call.body().deserialize()?;
            let row = {
                let mut state = state.lock().expect("lock");
                state.calls.push(format!("FindFile {path} {limit}"));
                BlameRow {
                    transaction: Some(state.id.clone()),
                    change: Some("written".into()),
                    package: Some("hello:amd64".into()),
                    ..BlameRow::default()
                }
            };
            connection.reply(&header, &(if path == "/none" { Vec::new() } else { vec![row] },)).await?;
        }
        "GetUndoMaterial" => {
            let found = UndoMaterial { transactions: 2, bytes: 1500, limit_transactions: 50, ..UndoMaterial::default() };
            connection.reply(&header, &found).await?;
        }
        "ListGenerations" => {
            let filter: HashMap<String, OwnedVariant> = call.body().deserialize()?;
            let system = if filter.contains_key("system") { " system" } else { "" };
            state.lock().expect("lock").calls.push(format!("ListGenerations{system}"));
            connection.reply(&header, &(vec![generation],)).await?;
        }
        "GetGeneration" => match call.body().deserialize::<u64>()? {
            7 => connection.reply(&header, &generation).await?,
            other => return Err(BusError::new(ErrorCode::GenerationUnknown, format!("no generation has the number {other}"))),
        },
        "ListChanges" => {
            let (_, after, _): (u64, u64, u32) = call.body().deserialize()?;
            let row = ChangeRow { number: 1, table: "runs".into(), fields: "{\"key\":1}".into(), ..ChangeRow::default() };
            connection.reply(&header, &(if after == 0 { vec![row] } else { Vec::new() },)).await?;
        }
        "Verify" => {
            let progress: zbus::OwnedFd = call.body().deserialize()?;
            write_to(progress, "{\"done\":1,\"total\":2}\n");
            if state.lock().expect("lock").script.broken {
                return Err(BusError::new(ErrorCode::AuditBroken, "the record was changed at event 2: its plan was changed"));
            }
            let redacted = state.lock().expect("lock").script.redacted;
            connection.reply(&header, &(2_u64, "abc", redacted, 0_u64)).await?;
        }
        "Export" => {
            let (format, after, output): (String, u64, zbus::OwnedFd) = call.body().deserialize()?;
            write_to(output, &format!("{format} after {after}\n"));
            connection.reply(&header, &1_u64).await?;
        }
        "BackUp" => {
            let (options, output): (HashMap<String, OwnedVariant>, zbus::OwnedFd) = call.body().deserialize()?;
            let keys: Vec<String> = options.into_keys().collect();
            state.lock().expect("lock").calls.push(format!("BackUp {}", keys.join(",")));
            write_to(output, "SQLite");
            let size: u64 = if state.lock().expect("lock").script.broken { 7 } else { 6 };
            connection.reply(&header, &size).await?;
        }
        "Restore" => {
            type Arguments = (HashMap<String, OwnedVariant>, Vec<zbus::OwnedFd>, zbus::OwnedFd);
            let (options, backup, output): Arguments = call.body().deserialize()?;
            let mut read = String::new();
            for fd in backup {
                std::fs::File::from(std::os::fd::OwnedFd::from(fd)).read_to_string(&mut read).expect("the backup");
            }
            let keys: Vec<String> = options.into_keys().collect();
            state.lock().expect("lock").calls.push(format!("Restore {} of {read:?}", keys.join(",")));
            write_to(output, "SQLite");
            let size: u64 = if state.lock().expect("lock").script.broken { 7 } else { 6 };
            connection.reply(&header, &(size, 3_u64, "abc")).await?;
        }
        "GetStepStatistics" => {
            let row = StepStatisticsRow { step: "apply".into(), title: "Change packages".into(), count: 1, ..StepStatisticsRow::default() };
            connection.reply(&header, &(vec![row],)).await?;
        }
        "GetPackageStatistics" => {
            let row = PackageStatisticsRow { package: "<b>hello".into(), changes: 2, undone: 1, last: 1 };
            connection.reply(&header, &(vec![row],)).await?;
        }
        "ListRisks" => {
            let packages: Vec<String> = call.body().deserialize()?;
            let risks = {
                let mut state = state.lock().expect("lock");
                state.calls.push(format!("ListRisks {}", packages.join(" ")));
                state.script.risks.clone()
            };
            match risks {
                Risks::Unknown => return Err(zbus::Error::from(zbus::fdo::Error::UnknownMethod("no such method".into())).into()),
                Risks::Silence => {}
                Risks::Told(rows) => connection.reply(&header, &(rows,)).await?,
            }
        }
        other => return Err(BusError::new(ErrorCode::Internal, format!("the fake knows no {other}"))),
    }
    Ok(())
}

fn write_to(fd: zbus::OwnedFd, text: &str) {
    use std::io::Write;
    std::fs::File::from(std::os::fd::OwnedFd::from(fd)).write_all(text.as_bytes()).expect("a reader");
}

fn create(state: &mut State, call: &Message) -> (String, zbus::OwnedObjectPath) {
    let body = call.body();
    let (kind, description, mut options): (String, String, HashMap<String, OptionValue>) = body.deserialize().expect("arguments");
    let mut keys: Vec<&str> = options.keys().map(String::as_str).collect();
    keys.sort_unstable();
    let mut text = format!("CreateTransaction {kind} {description} {}", keys.join(","));
    if let Some(packages) = options.remove("packages") {
        let packages: Vec<PackageArgument> = packages.try_into().expect("packages");
        let packages: Vec<String> = packages.iter().map(|(action, name, version)| format!("({action}, {name}, {version})")).collect();
        text.push_str(&format!(" [{}]", packages.join(" ")));
    }
    let id: String = options.remove("id").expect("id").try_into().expect("id");
    let parsed = backstep_bus::request_from_options(&kind, &description, options, &backstep_core::Options::default()).expect("a request");
    text.extend(parsed.request.tags.texts().iter().map(|tag| format!(" tagged {tag}")));
    for fd in parsed.fds {
        let length = std::fs::File::from(fd).metadata().expect("metadata").len();
        text.push_str(&format!(" archive of {length} bytes"));
    }
    state.calls.push(text);
    (state.phase, state.readings, state.exported) = (Phase::Created, 0, true);
    state.id.clone_from(&id);
    let path = transaction_path(id.parse().expect("id"));
    (id, path)
}

async fn on_transaction(connection: &Connection, state: &Mutex<State>, call: &Message, member: &str) -> Result<(), BusError> {
    let header = call.header();
    if !state.lock().expect("lock").exported {
        let unknown = zbus::fdo::Error::UnknownObject("no such object".into());
        connection.reply_dbus_error(&header, unknown).await?;
        return Ok(());
    }
    match member {
        "GetAll" => {
            let properties = state.lock().expect("lock").sight();
            connection.reply(&header, &properties).await?;
            // There is always more to see, as far as the client knows; but not while it is planned.
            if properties.state != "created" {
                let path = header.path().expect("path");
                connection.emit_signal(None::<&str>, path, TRANSACTION_INTERFACE, "StateChanged", &("", 1u64, "")).await?;
            }
        }
        "Prepare" => {
            state.lock().expect("lock").prepare();
            connection.reply(&header, &()).await?;
        }
        "Execute" => {
            let digest: String = call.body().deserialize()?;
            let flags = call.primary_header().flags();
            let interactive = if flags.contains(Flags::ALLOW_INTERACTIVE_AUTH) { " interactive" } else { "" };
            {
                let mut state = state.lock().expect("lock");
                if let Some((code, text)) = state.script.refuse_execute.clone() {
                    return Err(BusError::new(code, text));
                }
                state.turn(&format!("Execute {digest}{interactive}"), Phase::Run);
            }
            connection.reply(&header, &()).await?;
        }
        "Cancel" => {
            let outcome = {
                let mut state = state.lock().expect("lock");
                let outcome = if state.phase == Phase::Run { state.script.cancel_outcome } else { "cancelled" };
                state.turn("Cancel", Phase::Cancelled);
                outcome
            };
            connection.reply(&header, &outcome).await?;
        }
        "GetDocument" => {
            let document = state.lock().expect("lock").script.document;
            if document.is_empty() {
                return Err(BusError::new(ErrorCode::AuthDenied, "not authorised"));
            }
            connection.reply(&header, &document).await?;
        }
        "ReadContents" => {
            let (path, after): (String, String) = call.body().deserialize()?;
            state.lock().expect("lock").calls.push(format!("ReadContents {path} after {after}"));
            // In two pieces, so that readers must put them together.
            let text = |path: &str, before: &str| ContentsRow {
                path: path.into(),
                before: "text".into(),
                after: "text".into(),
                before_text: Some(before.into()),
                after_text: Some("two\n".into()),
                withheld: None,
            };
            let secret = ContentsRow { before_text: None, after_text: None, withheld: Some(true), ..text("/etc/shadow", "") };
            let rows = if after.is_empty() { vec![text("/etc/a", "one\n")] } else { vec![secret] };
            connection.reply(&header, &(rows, !after.is_empty())).await?;
        }
        "Pin" | "Unpin" => {
            let flags = call.primary_header().flags();
            let interactive = if flags.contains(Flags::ALLOW_INTERACTIVE_AUTH) { " interactive" } else { "" };
            state.lock().expect("lock").calls.push(format!("{member}{interactive}"));
            connection.reply(&header, &()).await?;
        }
        "ReadLog" | "ReadFiles" => {
            let (offset, _): (u64, u32) = call.body().deserialize()?;
            let script = state.lock().expect("lock").script.clone();
            let bytes = if member == "ReadLog" { script.log } else { script.files.into() };
            let from = usize::try_from(offset).expect("offset").min(bytes.len());
            // In small pieces, so that readers must put them together.
            let to = (from + 17).min(bytes.len());
            connection.reply(&header, &(&bytes[from..to], to as u64, to == bytes.len())).await?;
        }
        other => return Err(BusError::new(ErrorCode::Internal, format!("the fake knows no {other}"))),
    }
    Ok(())
}

impl State {
    fn turn(&mut self, call: &str, phase: Phase) {
        self.calls.push(call.to_owned());
        (self.phase, self.readings) = (phase, 0);
    }

    fn prepare(&mut self) {
        self.planning = true;
        let to = if self.script.replaced_in_planning { Phase::Created } else { Phase::Prepared };
        self.turn("Prepare", to);
    }

    fn sight(&mut self) -> TransactionProperties {
        let sights = match self.phase {
            Phase::Created => vec![TransactionProperties { state: "created".into(), ..TransactionProperties::default() }],
            Phase::Prepared => vec![self.script.planned.clone()],
            Phase::Run => self.script.run.clone(),
            Phase::Cancelled => self.script.after_cancel.clone(),
        };
        let at = self.readings.min(sights.len().saturating_sub(1));
        self.readings += 1;
        let seen = sights.get(at).cloned().unwrap_or_default();
        TransactionProperties { id: self.id.clone(), kind: "install".into(), ..seen }
    }
}
