//! The command line against a scripted daemon on a private bus: what people see, what the daemon is asked,
//! and the exit code.

// Tests set their scene with plain calls.
#![allow(clippy::disallowed_methods)]

mod fake;
mod terminal;

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Output, Stdio};

use backstep_bus::record::RiskRow;
use backstep_bus::{PlanRow, StepRow, TransactionProperties};
use backstep_core::ErrorCode;
use fake::{Bus, Daemon, Risks, Script};

const SHORT: &str = "0123456789ab";

fn command(bus: &Bus) -> Command {
    // A client that waits for ever fails its test.
    let mut command = Command::new("timeout");
    command.args(["--foreground", "30", env!("CARGO_BIN_EXE_backstep"), "--bus", &bus.address]).stdin(Stdio::null()).env_remove("NO_COLOR");
    command
}

fn run(bus: &Bus, line: &str) -> Output {
    command(bus).args(line.split(' ')).output().expect("run")
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("utf-8")
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("utf-8")
}

fn hello() -> PlanRow {
    PlanRow {
        package: "hello".into(),
        arch: "amd64".into(),
        action: "install".into(),
        to: "2.10-3".into(),
        size: 53_100,
        undo: "exact".into(),
        ..PlanRow::default()
    }
}

fn step(title: &str, state: &str) -> StepRow {
    StepRow { title: title.into(), state: state.into(), ..StepRow::default() }
}

fn planned() -> TransactionProperties {
    TransactionProperties {
        state: "prepared".into(),
        plan: vec![hello()],
        plan_digest: "d1".into(),
        plan_summary: "1 to install (hello)".into(),
        download_bytes: 53_100,
        ..TransactionProperties::default()
    }
}

fn executing(permille: u32) -> TransactionProperties {
    let steps = vec![step("Change packages", "running")];
    TransactionProperties { state: "executing".into(), permille, steps, remaining_seconds: -1, ..planned() }
}

fn completed() -> TransactionProperties {
    TransactionProperties { state: "completed".into(), permille: 1000, duration: 2_300_000, ..planned() }
}

fn install() -> Script {
    Script { planned: planned(), run: vec![executing(100), executing(500), completed()], ..Script::default() }
}

const PLAN: &str = "\
Action   Package  To       Size  Undo
install  hello    2.10-3  53 kB  exact

1 to install; download 53 kB; can be undone.
";

#[test]
fn a_plan_is_shown_accepted_and_completed() {
    let bus = Bus::start();
    let daemon = Daemon::start(&bus, install());
    let output = run(&bus, "install -y -m why hello nano- g++:amd64 cc=1.2");
    let done = format!(
        "{PLAN}[ 10%] Change packages\nDone: 1 installed (hello).\nTransaction {SHORT}, 2.3 s. Undo it with 'backstep rollback {SHORT}'.\n"
    );
    assert_eq!((out(&output).replace(&daemon.short(), SHORT), err(&output)), (done, String::new()));
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        daemon.calls(),
        [
            "CreateTransaction install why client,id,origin,packages [(, hello, ) (remove, nano, ) (, g++:amd64, ) (, cc, 1.2)]",
            "Prepare",
            "ListRisks hello=2.10-3",
            "Execute d1 interactive",
        ]
    );
}

#[test]
fn a_plan_is_shown_with_what_failed_before() {
    let bus = Bus::start();
    let row = |failed| RiskRow {
        package: "hello".into(),
        version: "2.10-3".into(),
        failed,
        attempts: 3,
        last: (failed > 0).then_some(1_700_000_000_000_000),
        code: (failed > 0).then(|| "script.failed".to_owned()),
        ..RiskRow::default()
    };
    let daemon = Daemon::start(&bus, Script { risks: Risks::Told(vec![row(2)]), ..install() });
    let risk = "Risk: hello 2.10-3 failed in 2 of 3 attempts, last on 2023-11-1";
    for line in ["plan install hello", "install -y hello"] {
        let told = out(&run(&bus, line));
        assert!(told.starts_with(&format!("{PLAN}{risk}")), "{line}: {told}");
        assert_eq!(daemon.calls().iter().filter(|call| call.starts_with("ListRisks")).count(), 1, "{line}");
        daemon.forget();
    }
    let json = || serde_json::from_slice::<serde_json::Value>(&run(&bus, "--json plan install hello").stdout).expect("json");
    assert_eq!((&json()["risks"][0]["failed"], &json()["risks"][0]["code"]), (&2.into(), &"script.failed".into()));
    daemon.forget();
    for line in ["--json install -y hello", "-q install -y hello", "install hello"] {
        run(&bus, line);
        assert!(!daemon.calls().iter().any(|call| call.starts_with("ListRisks")), "{line}: nobody sees the plan");
    }
    let silent = [(Risks::Told(vec![row(0)]), "what never failed is no risk"), (Risks::Silence, "no answer keeps nobody from a plan")];
    for (risks, why) in silent {
        let bus = Bus::start();
        let _daemon = Daemon::start(&bus, Script { risks, ..install() });
        assert_eq!(out(&run(&bus, "plan install hello")), PLAN, "{why}");
    }
}

#[test]
fn tags_go_with_the_request_and_find_it_again() {
    let bus = Bus::start();
    let tags = vec!["env=prod".to_owned(), "ticket:4711".to_owned()];
    let tagged = TransactionProperties { tags, ..completed() };
    let daemon = Daemon::start(&bus, Script { run: vec![tagged], ..install() });
    let output = run(&bus, "install -y hello --tag ticket:4711 --tag env=prod");
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    let asked = "CreateTransaction install  client,id,origin,packages,tags [(, hello, )] tagged env=prod tagged ticket:4711";
    assert_eq!(daemon.calls()[0], asked);
    let shown = out(&run(&bus, &format!("show {}", daemon.short())));
    assert!(shown.contains("         Tags: env=prod ticket:4711\n"), "{shown}");
    let json = |line: &str| serde_json::from_slice::<serde_json::Value>(&run(&bus, line).stdout).expect("json");
    assert_eq!(json(&format!("show {} --json", daemon.short()))["tags"], serde_json::json!(["env=prod", "ticket:4711"]));
    assert_eq!(json("history --tag env=prod --json")[0]["tags"], serde_json::json!(["env=prod"]));
    assert_eq!(daemon.calls().last().map(String::as_str), Some("ListTransactions tag"));
    assert_eq!(json("history --json")[0].get("tags"), None, "what has none says nothing");
    run(&bus, "list --tag env=prod");
    assert_eq!(daemon.calls().last().map(String::as_str), Some("ListTransactions tag,unfinished"));
    let refused = run(&bus, "install hello --tag Prod");
    assert_eq!(refused.status.code(), Some(2));
    assert!(err(&refused).contains("begins with a letter or a digit"), "{}", err(&refused));
}

#[test]
fn packages_come_from_a_file_or_a_pipe_too() {
    let bus = Bus::start();
    let daemon = Daemon::start(&bus, install());
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("packages");
    std::fs::write(&file, "# wanted\nnano=1-2\nvim-\n").expect("write");
    let read = command(&bus).args(["install", "-y", "hello", "--from"]).arg(&file).output().expect("run");
    assert_eq!(read.status.code(), Some(0), "{}", err(&read));
    let asked = |packages: &str| format!("CreateTransaction install  client,id,origin,packages {packages}");
    assert_eq!(daemon.calls()[0], asked("[(, hello, ) (, nano, 1-2) (remove, vim, )]"));
    let mut piped = command(&bus);
    let mut piped = piped.args(["install", "-y", "--from", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("run");
    std::io::Write::write_all(&mut piped.stdin.take().expect("stdin"), b"nano\0vim\0").expect("write");
    assert_eq!(piped.wait().expect("end").code(), Some(0));
    assert!(daemon.calls().contains(&asked("[(, nano, ) (, vim, )]")), "{:?}", daemon.calls());
    let before = daemon.calls().len();
    std::fs::write(&file, "[1]").expect("write");
    let refused = command(&bus).args(["--json", "install", "-y", "--from"]).arg(&file).output().expect("run");
    assert_eq!(refused.status.code(), Some(2));
    let error: serde_json::Value = serde_json::from_slice(&refused.stdout).expect("json");
    assert!(error["error"]["text"].as_str().is_some_and(|text| text.contains("JSON array of strings")), "{error}");
    assert_eq!(run(&bus, "install -y").status.code(), Some(2));
    assert_eq!(daemon.calls().len(), before, "a slip costs no call");
}

#[test]
fn a_failure_is_told_with_its_undo() {
    let bus = Bus::start();
    let failed = TransactionProperties {
        state: "rolled-back".into(),
        error_code: "script.failed".into(),
        error_text: "postinst of hello failed".into(),
        steps: vec![step("Fetch archives", "undone"), step("Change packages", "undone"), step("Commit", "pending")],
        ..completed()
    };
    let undoing = TransactionProperties { state: "rolling-back".into(), ..executing(600) };
    let run_of = vec![executing(100), undoing, failed];
    let daemon = Daemon::start(&bus, Script { run: run_of, log: b"no luck \x1b[31m\n".to_vec(), ..install() });
    let output = run(&bus, "install -y hello");
    let expected = format!(
        "\
Error: postinst of hello failed (script.failed)
  | no luck \\x1b[31m
Undone, the last step first:
  Change packages        undone
  Fetch archives         undone
Everything is as before. Transaction {SHORT}, 2.3 s.
Hint: See 'backstep log {SHORT}' for the script's output.
"
    );
    assert_eq!(err(&output).replace(&daemon.short(), SHORT), expected);
    assert_eq!(out(&output), format!("{PLAN}[ 10%] Change packages\n[ 60%] Undoing: Change packages\n"));
    assert_eq!(output.status.code(), Some(9));
}

#[test]
fn a_refusal_is_told_and_the_transaction_withdrawn() {
    let bus = Bus::start();
    let denied = Some((ErrorCode::AuthDenied, "not authorised".to_owned()));
    let daemon = Daemon::start(&bus, Script { refuse_execute: denied, ..install() });
    let output = run(&bus, "install -y hello");
    assert_eq!(err(&output), "Error: not authorised\nHint: Ask an administrator, or run the command as root.\n");
    assert_eq!(output.status.code(), Some(5));
    assert_eq!(daemon.calls().last().map(String::as_str), Some("Cancel"));
}

#[test]
fn an_impossible_request_is_told_with_its_reason() {
    let bus = Bus::start();
    let planned = TransactionProperties {
        state: "failed".into(),
        error_code: "package.unknown".into(),
        error_text: "no package hullo".into(),
        ..TransactionProperties::default()
    };
    let daemon = Daemon::start(&bus, Script { planned, ..Script::default() });
    let output = run(&bus, "install -y hullo");
    assert!(err(&output).starts_with("Error: no package hullo (package.unknown)\nNothing was changed."), "{}", err(&output));
    assert_eq!((output.status.code(), daemon.calls().len()), (Some(3), 2));
}

#[test]
fn an_empty_plan_is_nothing_to_do() {
    let bus = Bus::start();
    let planned = TransactionProperties { state: "prepared".into(), plan_summary: "nothing to do".into(), ..Default::default() };
    let daemon = Daemon::start(&bus, Script { planned, ..Script::default() });
    let output = run(&bus, "upgrade");
    assert_eq!((out(&output).as_str(), output.status.code()), ("Nothing to do.\n", Some(0)));
    assert_eq!(daemon.calls().last().map(String::as_str), Some("Cancel"));
}

#[test]
fn without_a_terminal_nothing_runs_unasked() {
    let bus = Bus::start();
    let daemon = Daemon::start(&bus, install());
    let output = run(&bus, "install hello");
    assert_eq!(err(&output), "Error: cannot ask for confirmation without a terminal; add -y to accept the plan\n");
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(daemon.calls()[1..], ["Prepare", "Cancel"]);
}

#[test]
fn a_dry_run_stops_at_the_plan() {
    let bus = Bus::start();
    let daemon = Daemon::start(&bus, install());
    for line in ["install --dry-run hello", "plan install hello"] {
        let output = run(&bus, line);
        assert_eq!((out(&output).as_str(), output.status.code()), (PLAN, Some(0)), "{line}");
        assert_eq!(daemon.calls().last().map(String::as_str), Some("Cancel"));
    }
    let json: serde_json::Value = serde_json::from_slice(&run(&bus, "--json plan install hello").stdout).expect("json");
    assert_eq!(json["plan"][0]["package"], "hello");
    assert_eq!(json["plan"][0]["undo"], "exact");
    assert_eq!(json["risks"], serde_json::json!([]), "a daemon that does not know has none");
}

#[test]
fn an_unknown_id_is_told() {
    let bus = Bus::start();
    let daemon = Daemon::start(&bus, install());
    for line in ["show beef", "log beef", "cancel beef", "watch beef", "rollback beef", "retry beef", "transaction show beef"] {
        let output = run(&bus, line);
        assert_eq!(err(&output), "Error: no transaction \"beef\"\nHint: See 'backstep history' for the ids there are.\n", "{line}");
        assert_eq!(output.status.code(), Some(3), "{line}");
    }
    let output = run(&bus, "--json show beef");
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("json");
    assert_eq!((&json["error"]["code"], &json["error"]["exit"]), (&"transaction.unknown".into(), &3.into()));
    drop(daemon);
}

#[test]
fn no_daemon_is_exit_code_13() {
    let bus = Bus::start();
    for line in ["status", "install -y hello", "history"] {
        let output = run(&bus, line);
        assert!(err(&output).starts_with("Error: cannot reach backstepd"), "{line}: {}", err(&output));
        assert_eq!(output.status.code(), Some(13), "{line}");
    }
    let output = Command::new(env!("CARGO_BIN_EXE_backstep")).args(["--bus", "unix:path=/nonexistent", "status"]).output().expect("run");
    assert_eq!(output.status.code(), Some(13), "{}", err(&output));
}

#[test]
fn slips_cost_no_call() {
    let bus = Bus::start();
    let daemon = Daemon::start(&bus, install());
    for (line, code) in [("install hello*", 2), ("install", 2), ("remove ./x.deb", 2), ("install ./no-such.deb", 3), ("frobnicate", 2)] {
        assert_eq!(run(&bus, line).status.code(), Some(code), "{line}");
    }
    assert!(daemon.calls().is_empty(), "{:?}", daemon.calls());
}

#[test]
fn a_local_archive_goes_as_a_descriptor() {
    let bus = Bus::start();
    let daemon = Daemon::start(&bus, install());
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("x.deb");
    std::fs::write(&path, b"!<arch>\n").expect("write");
    let output = command(&bus).args(["install", "-y", "--no-wait"]).arg(&path).output().expect("run");
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert_eq!(daemon.calls()[0], "CreateTransaction install  archives,client,id,origin archive of 8 bytes");
    assert!(out(&output).contains("is queued"), "{}", out(&output));
}

#[test]
fn a_restarted_daemon_is_picked_up_again() {
    let bus = Bus::start();
    let daemon = Daemon::start(&bus, Script { restart_after: Some(1), ..install() });
    let output = run(&bus, "install -y hello");
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert!(out(&output).contains("Done: 1 installed (hello)."), "{}", out(&output));
    assert!(daemon.calls().iter().any(|call| call == "GetTransaction"), "{:?}", daemon.calls());
}

#[test]
fn a_daemon_that_forgot_the_plan_is_asked_again() {
    let bus = Bus::start();
    let daemon = Daemon::start(&bus, Script { replaced_in_planning: true, ..install() });
    let output = run(&bus, "install -y hello");
    assert_eq!(output.status.code(), Some(0), "{}{}", out(&output), err(&output));
    assert_eq!(daemon.calls()[1..], ["Prepare", "Prepare", "ListRisks hello=2.10-3", "Execute d1 interactive"]);
}

#[test]
fn a_daemon_that_stays_away_is_given_up() {
    let bus = Bus::start();
    let daemon = Daemon::start(&bus, Script { gone_after: Some(1), ..install() });
    let output = run(&bus, "--patience 1 install -y hello");
    let id = daemon.id();
    let expected =
        format!("Error: cannot reach backstepd for 1 s; transaction {id} may go on\nHint: Pick it up with 'backstep watch {id}'.\n");
    assert_eq!((err(&output), output.status.code()), (expected, Some(13)));
    assert!(out(&output).contains("The daemon is away; waiting for it to come back."), "{}", out(&output));
}

#[test]
fn ctrl_c_asks_the_daemon() {
    let bus = Bus::start();
    let cancelled = TransactionProperties { state: "cancelled".into(), error_code: "cancelled".into(), ..completed() };
    let script = Script { run: vec![executing(100)], after_cancel: vec![cancelled], cancel_outcome: "will-roll-back", ..install() };
    let daemon = Daemon::start(&bus, script);
    let mut child = command(&bus).args(["install", "-y", "hello"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("spawn");
    let mut stdout = BufReader::new(child.stdout.take().expect("stdout"));
    let mut line = String::new();
    while !line.contains("[ 10%]") {
        line.clear();
        assert_ne!(stdout.read_line(&mut line).expect("read"), 0, "it ended early");
    }
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).expect("pid"));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).expect("kill");
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).expect("read");
    let mut stderr = String::new();
    child.stderr.take().expect("stderr").read_to_string(&mut stderr).expect("read");
    assert_eq!(child.wait().expect("wait").code(), Some(11), "{rest}{stderr}");
    assert!(rest.starts_with("Stopping; what was changed is being undone."), "{rest}");
    assert!(stderr.contains("Cancelled; everything is as before."), "{stderr}");
    assert_eq!(daemon.calls().last().map(String::as_str), Some("Cancel"));
}

#[test]
fn json_is_one_object_and_watch_is_one_a_line() {
    let bus = Bus::start();
    let daemon = Daemon::start(&bus, install());
    let output = run(&bus, "--json install -y hello");
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("json");
    assert_eq!((&json["state"], &json["id"]), (&"completed".into(), &daemon.id().into()));
    let output = run(&bus, &format!("--json watch {}", daemon.id()));
    let states: Vec<String> =
        out(&output).lines().map(|l| serde_json::from_str::<serde_json::Value>(l).expect("json")["state"].to_string()).collect();
    assert_eq!(states, ["\"completed\""]);
}

#[test]
fn lists_and_status_are_tables_or_json() {
    let bus = Bus::start();
    let daemon = Daemon::start(&bus, install());
    run(&bus, "install -y hello");
    let output = run(&bus, "history --kind install -n 5");
    assert!(out(&output).starts_with("Id "), "{}{}", out(&output), err(&output));
    assert!(out(&output).contains(&daemon.short()), "{}", out(&output));
    assert!(!out(&output).contains("Earlier ones"), "{}", out(&output));
    let page = run(&bus, "history -n 1 --since 30d --text nightly --origin cli");
    assert!(out(&page).ends_with(&format!("Earlier ones: the same with --before {}\n", daemon.short())), "{}{}", out(&page), err(&page));
    let asked = daemon.calls().into_iter().find(|call| call.starts_with("ListTransactions") && call.contains("text"));
    assert_eq!(asked.as_deref(), Some("ListTransactions limit,origin,since,text"));
    let json: serde_json::Value = serde_json::from_slice(&run(&bus, "--json list").stdout).expect("json");
    assert_eq!(json[0]["id"], daemon.id());
    let status = run(&bus, "status");
    assert!(out(&status).starts_with("backstepd 0.fake is ready.\n"), "{}{}", out(&status), err(&status));
    let json: serde_json::Value = serde_json::from_slice(&run(&bus, "status --json").stdout).expect("json");
    assert_eq!((&json["version"], &json["warnings"]), (&"0.fake".into(), &serde_json::json!(["the record was damaged\u{1b}[2J"])));
    assert!(out(&status).contains("\nWarning: the record was damaged"), "{}", out(&status));
    let show = run(&bus, &format!("show {}", daemon.short()));
    assert!(out(&show).contains("State: completed\n"), "{}{}", out(&show), err(&show));
    let stats = run(&bus, "stats");
    assert!(out(&stats).starts_with("Kind "), "{}{}", out(&stats), err(&stats));
    assert!(out(&stats).contains("\n\nStep "), "{}{}", out(&stats), err(&stats));
    let json: serde_json::Value = serde_json::from_slice(&run(&bus, "stats --since 30d --json").stdout).expect("json");
    assert_eq!((&json["kinds"][0]["kind"], &json["steps"][0]["step"]), (&"install".into(), &"apply".into()));
}

#[test]
fn a_report_is_a_page_in_a_new_file_or_on_standard_output() {
    let bus = Bus::start();
    let daemon = Daemon::start(&bus, install());
    run(&bus, "install -y hello");
    let page = run(&bus, "report --html --since 30d");
    assert!(out(&page).starts_with("<!DOCTYPE html>\n") && out(&page).ends_with("</html>\n"), "{}{}", out(&page), err(&page));
    assert!(out(&page).contains(&daemon.short()) && out(&page).contains("&lt;b&gt;hello"), "{}", out(&page));
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("report.html");
    let line = format!("--json report --html {}", file.display());
    let json: serde_json::Value = serde_json::from_slice(&run(&bus, &line).stdout).expect("json");
    assert_eq!(json["size"].as_u64(), Some(std::fs::metadata(&file).expect("file").len()));
    assert_eq!(run(&bus, &line).status.code(), Some(2), "nothing is overwritten");
    assert_eq!(run(&bus, "report").status.code(), Some(2), "there is one form");
}

#[test]
fn a_log_is_safe_for_the_terminal() {
    let bus = Bus::start();
    let daemon = Daemon::start(&bus, Script { log: b"one\r\ntwo \x1b]0;x\x07 \xc3\xa4".to_vec(), ..install() });
    run(&bus, "install -y hello");
    for line in [format!("log {}", daemon.short()), format!("log --follow {}", daemon.short())] {
        assert_eq!(out(&run(&bus, &line)), "one\ntwo \\x1b]0;x\\x07 ä\n", "{line}");
        let told = out(&run(&bus, &format!("{line} --json")));
        let pieces: Vec<serde_json::Value> = told.lines().map(|piece| serde_json::from_str(piece).expect("json")).collect();
        let log: String = pieces.iter().filter_map(|piece| piece["log"].as_str()).collect();
        assert_eq!((log.as_str(), &pieces[0]["id"]), ("one\r\ntwo \u{1b}]0;x\u{7} ä", &daemon.id().into()), "{line}");
    }
    let bus = Bus::start();
    let daemon = Daemon::start(&bus, install());
    run(&bus, "install -y hello");
    let empty = run(&bus, &format!("log {}", daemon.short()));
    assert_eq!(err(&empty), format!("No program wrote anything. What was done says 'backstep show {}'.\n", daemon.short()));
    assert_eq!(out(&empty), "");
}

#[test]
fn the_record_is_asked_in_words_or_json() {
    let bus = Bus::start();
    let daemon = Daemon::start(&bus, install());
    run(&bus, "install -y hello");
    let short = daemon.short();
    let why = run(&bus, "why hello");
    assert_eq!(out(&why), format!("hello:amd64 is not installed\n   Brought by: {short}, install of\n"), "{}", err(&why));
    let json: serde_json::Value = serde_json::from_slice(&run(&bus, "why --json hello").stdout).expect("json");
    assert_eq!((&json[0]["role"], &json[0]["transaction"]), (&"brought".into(), &daemon.id().into()));
    let unknown = run(&bus, "why hullo");
    assert_eq!(err(&unknown), "Error: hullo is not installed\nHint: See what is installed with 'dpkg -l'.\n");
    assert_eq!(unknown.status.code(), Some(3));
    for (line, asked) in [("timeline", "ListGenerations system"), ("generation list", "ListGenerations")] {
        let output = run(&bus, line);
        assert!(out(&output).starts_with("Generation ") && out(&output).contains(&short), "{}{}", out(&output), err(&output));
        assert!(daemon.calls().iter().any(|call| call == asked), "{line}: {:?}", daemon.calls());
    }
    let page = run(&bus, "timeline -n 1");
    assert!(out(&page).ends_with("Earlier ones: the same with --before 7\n"), "{}", out(&page));
    let shown = run(&bus, "generation show 7");
    assert!(out(&shown).contains("runs"), "{}{}", out(&shown), err(&shown));
    let json: serde_json::Value = serde_json::from_slice(&run(&bus, "generation show --json 7").stdout).expect("json");
    assert_eq!((&json["number"], &json["rows"][0]["fields"]["key"]), (&7.into(), &1.into()));
    let unknown = run(&bus, "generation show 8");
    assert_eq!((unknown.status.code(), err(&unknown).contains("backstep generation list")), (Some(3), true), "{}", err(&unknown));
}

#[test]
fn files_are_compared_and_their_changes_found() {
    let bus = Bus::start();
    let daemon = Daemon::start(&bus, Script { run: vec![completed()], ..install() });
    run(&bus, "install -y hello");
    let short = daemon.short();
    let diff = run(&bus, &format!("diff {short} /etc/a"));
    let expected = format!(
        "--- /etc/a before {short}\n+++ /etc/a after {short}\n@@ -1,1 +1,1 @@\n-one\n+two\n/etc/shadow: changed; only root is shown what it held\n"
    );
    assert_eq!((out(&diff), err(&diff)), (expected, String::new()));
    let json: serde_json::Value = serde_json::from_slice(&run(&bus, &format!("diff --json {short}")).stdout).expect("json");
    assert_eq!((&json[0]["diff"], &json[1]["withheld"]), (&"@@ -1,1 +1,1 @@\n-one\n+two\n".into(), &true.into()));
    assert_eq!(json[1].get("diff"), None);
    for asked in ["ReadContents /etc/a after ", "ReadContents /etc/a after /etc/a", "ReadContents  after "] {
        assert!(daemon.calls().iter().any(|call| call == asked), "{asked}: {:?}", daemon.calls());
    }
    let blame = run(&bus, "blame /none/../x -n 3");
    assert!(out(&blame).contains(&short) && out(&blame).contains("hello:amd64"), "{}{}", out(&blame), err(&blame));
    let nothing = out(&run(&bus, "blame /none"));
    let others = if nix::unistd::Uid::effective().is_root() { "" } else { "others: sudo backstep blame" };
    assert!(nothing.starts_with("No transaction ") && nothing.contains(others), "{nothing}");
    let json: serde_json::Value = serde_json::from_slice(&run(&bus, "blame --json /x").stdout).expect("json");
    assert_eq!(&json[0]["change"], "written");
    assert!(daemon.calls().iter().any(|call| call == "FindFile /x 0"), "{:?}", daemon.calls());
}

#[test]
fn rollbacks_go_back_to_a_time_or_take_a_part() {
    let bus = Bus::start();
    let daemon = Daemon::start(&bus, Script { run: vec![completed()], ..install() });
    run(&bus, "install -y hello");
    let asked = |line: &str| {
        run(&bus, &line.replace("ID", &daemon.short()));
        let calls = daemon.calls();
        calls.into_iter().rev().find(|call| call.starts_with("CreateTransaction rollback")).expect("a rollback")
    };
    assert_eq!(asked("rollback -y --to 2h"), "CreateTransaction rollback  client,id,origin,reverts,undo-later");
    let part = asked("rollback -y ID hello libc6:amd64");
    assert_eq!(part, "CreateTransaction rollback  client,id,origin,packages,reverts [(, hello, ) (, libc6:amd64, )]");
    for line in ["rollback -y beef hello=1", "rollback -y beef ./hello.deb"] {
        assert_eq!(run(&bus, line).status.code(), Some(2), "{line}");
    }
}

#[test]
fn undo_material_is_pinned_and_counted() {
    let bus = Bus::start();
    let daemon = Daemon::start(&bus, Script { run: vec![completed()], ..install() });
    run(&bus, "install -y hello");
    let short = daemon.short();
    let pinned = run(&bus, &format!("pin {short}"));
    assert_eq!(out(&pinned), format!("The undo material of {short} is kept, whatever the limits say.\n"), "{}", err(&pinned));
    let unpinned: serde_json::Value = serde_json::from_slice(&run(&bus, &format!("unpin --json {short}")).stdout).expect("json");
    assert_eq!((&unpinned["id"], &unpinned["pinned"]), (&daemon.id().into(), &false.into()));
    assert!(["Pin interactive", "Unpin interactive"].iter().all(|asked| daemon.calls().iter().any(|call| call == asked)));
}

#[test]
fn show_has_the_course_and_the_end_of_the_log() {
    let bus = Bus::start();
    let document = r#"{"items": [{"package": "hello:amd64", "from": null, "to": "2", "now": "installed 2", "state": "done"}], "events": [
        {"event": "step-started", "step": "apply", "direction": "forward", "attempt": 1, "at": {"monotonic_us": 0, "boot": "b"}},
        {"event": "step-ended", "step": "apply", "state": "completed", "text": "1 package", "at": {"monotonic_us": 2000000, "boot": "b"}}]}"#;
    let run_of = vec![TransactionProperties { attempts: 1, steps: vec![step("Change packages", "completed")], ..completed() }];
    let daemon = Daemon::start(&bus, Script { document, run: run_of.clone(), log: b"Setting up hello\n".to_vec(), ..install() });
    run(&bus, "install -y hello");
    let shown = out(&run(&bus, &format!("show {}", daemon.short())));
    for part in
        ["hello:amd64  none    2        installed 2  done\n", "apply  forward    completed  2.0 s  1 package\n", "  | Setting up hello\n"]
    {
        assert!(shown.contains(part), "{part}\n{shown}");
    }
    let json: serde_json::Value = serde_json::from_slice(&run(&bus, &format!("show --json {}", daemon.short())).stdout).expect("json");
    assert_eq!((&json["items"][0]["state"], &json["runs"][0]["duration"]), (&"done".into(), &2_000_000.into()));
    // Who may not see the record sees the rest.
    let bus = Bus::start();
    let daemon = Daemon::start(&bus, Script { run: run_of, ..install() });
    run(&bus, "install -y hello");
    let output = run(&bus, &format!("show {}", daemon.short()));
    assert!(out(&output).contains("Change packages  completed"), "{}{}", out(&output), err(&output));
}

#[test]
fn the_record_is_verified_exported_and_copied() {
    let bus = Bus::start();
    let folder = tempfile::tempdir().expect("folder");
    let daemon = Daemon::start(&bus, install());
    let output = run(&bus, "audit verify");
    assert_eq!(out(&output), "Verified: 2 events are what was written.\nThe last one's hash is abc.\n", "{}", err(&output));
    assert_eq!(out(&run(&bus, "audit export --after 3 --format csv")), "csv after 3\n");
    let file = folder.path().join("copy.db");
    let backup = || command(&bus).arg("backup").arg(&file).output().expect("run");
    let output = backup();
    assert_eq!(out(&output), format!("The record is in {}, 6 bytes.\n", file.display()), "{}", err(&output));
    assert_eq!(std::fs::read(&file).expect("read"), b"SQLite");
    let earlier = command(&bus).args(["backup", "--to", "2d"]).arg(folder.path().join("then.db")).output().expect("run");
    assert_eq!((earlier.status.code(), daemon.calls()), (Some(0), vec!["BackUp ".to_owned(), "BackUp time".to_owned()]));
    let again = backup();
    assert_eq!(again.status.code(), Some(2), "{}", err(&again));
    assert!(err(&again).ends_with("exists\nHint: Choose another name: nothing is overwritten.\n"), "{}", err(&again));
    drop(daemon);
}

#[test]
fn what_moved_to_an_archive_is_said() {
    let bus = Bus::start();
    let daemon = Daemon::start(&bus, install());
    let moved = run(&bus, "archive --before 730d -m old");
    assert_eq!(out(&moved), "record-0000000001-0000000009.db\n3 transactions with 9 events moved there; they are read as before.\n");
    assert_eq!(out(&run(&bus, "archive --before 730d --keep 5 -m nothing")), "Nothing is old enough.\n");
    let json: serde_json::Value = serde_json::from_str(&out(&run(&bus, "--json archive --before 2024-01-01"))).expect("json");
    assert_eq!((json["transactions"].as_u64(), json["files"][0].as_str()), (Some(3), Some("record-0000000001-0000000009.db")));
    assert_eq!(daemon.calls(), ["\"old\"", "\"nothing\"", "\"\""].map(|comment| format!("Archive {comment} true")));
}

#[test]
fn a_text_comes_from_a_file_or_a_pipe_and_goes_only_when_somebody_says_so() {
    let bus = Bus::start();
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("name.txt");
    std::fs::write(&file, "Ana Otto\n").expect("write");
    let daemon = Daemon::start(&bus, Script { redacted: 3, ..install() });
    let redact = |more: &[&str]| command(&bus).args(["redact", "-m", "asked"]).args(more).arg(&file).output().expect("run");
    let tried = redact(&["--dry-run"]);
    let places = "     2  events.text\n     1  output.log\n";
    assert_eq!(out(&tried), format!("{places}Redaction. It would be taken out: in 1 transactions.\n"), "{}", err(&tried));
    let unasked = redact(&[]);
    assert_eq!(unasked.status.code(), Some(2), "{}", err(&unasked));
    let done = redact(&["-y"]);
    assert_eq!(out(&done), format!("{places}Redaction. It was taken out: in 1 transactions.\nSee 'backstep generation show 7'.\n"));
    for dash in [&[][..], &["-"]] {
        let mut piped = command(&bus);
        let piped = piped.args(["redact", "-y", "--json", "-m", "asked"]).args(dash).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut piped = piped.expect("run");
        std::io::Write::write_all(&mut piped.stdin.take().expect("stdin"), b"nowhere").expect("write");
        let json: serde_json::Value = serde_json::from_slice(&piped.wait_with_output().expect("end").stdout).expect("json");
        assert_eq!(json["number"], serde_json::Value::Null);
    }
    let expected = ["try \"Ana Otto\"", "try \"Ana Otto\"", "do \"Ana Otto\"", "do \"nowhere\"", "do \"nowhere\""];
    assert_eq!(daemon.calls(), expected.map(|call| format!("Redact {call} asked")));
    assert!(out(&run(&bus, "audit verify")).contains("3 of what they vouch for had a text taken out"));
}

#[test]
fn a_record_is_restored_from_itself_or_a_backup_into_a_new_file() {
    let bus = Bus::start();
    let folder = tempfile::tempdir().expect("folder");
    let (backup, into) = (folder.path().join("backup.db"), folder.path().join("then.db"));
    std::fs::write(&backup, "kept").expect("write");
    let daemon = Daemon::start(&bus, install());
    let restore = |more: &[&str]| {
        let output = command(&bus).args(["restore", "--into"]).arg(&into).args(more).output().expect("run");
        (output.status.code(), out(&output), err(&output), std::fs::read(&into).ok())
    };
    let (code, told, error, made) = restore(&["--to", "2d", "--from", backup.to_str().expect("UTF-8")]);
    let text = format!("A record of 3 events, verified, is in {}. The last one's hash is abc.\n", into.display());
    assert_eq!((code, told, made), (Some(0), text, Some(b"SQLite".to_vec())), "{error}");
    // Never over what is there.
    std::fs::write(&into, "mine").expect("write");
    assert_eq!((restore(&[]).0, restore(&[]).3), (Some(2), Some(b"mine".to_vec())));
    std::fs::remove_file(&into).expect("remove");
    assert_eq!((restore(&["--from", "/no/such"]).0, into.exists()), (Some(3), false));
    assert_eq!(restore(&["--event", "7", "--json"]).0, Some(0));
    assert_eq!(daemon.calls(), ["Restore time of \"kept\"", "Restore event of \"\""]);
}

#[test]
fn a_broken_record_has_an_exit_code_and_half_a_copy_is_none() {
    let bus = Bus::start();
    let folder = tempfile::tempdir().expect("folder");
    let daemon = Daemon::start(&bus, Script { broken: true, ..install() });
    let output = run(&bus, "audit verify");
    assert!(err(&output).starts_with("Error: the record was changed at event 2: its plan was changed\nHint: Keep"), "{}", err(&output));
    assert_eq!(output.status.code(), Some(10));
    let file = folder.path().join("copy.db");
    let output = command(&bus).arg("backup").arg(&file).output().expect("run");
    assert_eq!((output.status.code(), file.exists()), (Some(8), false), "{}", err(&output));
    drop(daemon);
}

#[test]
fn what_is_backed_off_is_listed_set_and_cleared() {
    let bus = Bus::start();
    let daemon = Daemon::start(&bus, Script::default());
    assert!(out(&run(&bus, "backoff list")).contains("3  jq"));
    assert!(out(&run(&bus, "status")).contains("Left alone for a while:"), "shown in the status, too");
    let rows: serde_json::Value = serde_json::from_str(&out(&run(&bus, "status --json"))).expect("JSON");
    assert_eq!(rows["backoffs"][0]["subject"], "jq");
    assert_eq!(run(&bus, "backoff add jq nano --until 3d -m why --kind upgrade").status.code(), Some(0));
    assert!(out(&run(&bus, "backoff clear jq")).contains("1 cleared"));
    assert_eq!(run(&bus, "backoff clear --all --kind install").status.code(), Some(0));
    assert_eq!(run(&bus, "backoff clear").status.code(), Some(2), "what is to be cleared is said");
    let calls: Vec<String> = daemon.calls().into_iter().filter(|call| call.contains("Backoff")).collect();
    let expected = ["AddBackoff jq upgrade why", "AddBackoff nano upgrade why", "ClearBackoffs jq/", "ClearBackoffs /install"];
    assert_eq!(calls, expected);
}

#[test]
fn the_inventory_is_read_to_its_end() {
    let bus = Bus::start();
    let _daemon = Daemon::start(&bus, Script::default());
    let text = out(&run(&bus, "inventory"));
    assert_eq!(text.matches("hello:amd64").count(), 2, "{text}");
    let rows: serde_json::Value = serde_json::from_str(&out(&run(&bus, "inventory --all --json"))).expect("JSON");
    assert_eq!((rows.as_array().map(Vec::len), rows[1]["by"].as_str()), (Some(2), Some("dpkg")));
}

#[test]
fn what_is_ignored_is_said_listed_and_taken_back() {
    let bus = Bus::start();
    let daemon = Daemon::start(&bus, Script::default());
    let said = run(&bus, "ignore add jq* nano -m why --until 3d --from Debian");
    assert_eq!(said.status.code(), Some(0), "{}", err(&said));
    assert!(out(&said).starts_with("Ignore 7: jq* is offered to nobody until "), "{}", out(&said));
    let calls: Vec<String> = daemon.calls().into_iter().filter(|call| call.starts_with("AddIgnore")).collect();
    assert_eq!(calls, ["AddIgnore jq* why client,from,origin,until", "AddIgnore nano why client,from,origin,until"]);
    assert!(out(&run(&bus, "ignore list")).contains("     7  jq*"));
    let rows: serde_json::Value = serde_json::from_str(&out(&run(&bus, "ignore list --json"))).expect("JSON");
    assert_eq!((rows[0]["number"].as_u64(), rows[0].get("until")), (Some(7), None));
    assert_eq!(run(&bus, "ignore remove 7").status.code(), Some(0));
    assert_eq!(run(&bus, "ignore remove 8").status.code(), Some(3));
    assert_eq!(run(&bus, "ignore add jq").status.code(), Some(2), "a comment is needed");
}

#[test]
fn who_was_turned_away_is_a_table_or_json() {
    let bus = Bus::start();
    let _daemon = Daemon::start(&bus, install());
    let output = run(&bus, "history --denied");
    let (text, errors) = (out(&output), err(&output));
    assert!(text.starts_with("When ") && text.contains("mallory") && text.contains("auth.denied"), "{text}{errors}");
    assert!(text.contains("x\\x1b]0;y\\x07"), "{text:?}");
    let json: serde_json::Value = serde_json::from_slice(&run(&bus, "history --denied --json").stdout).expect("json");
    assert_eq!((&json[0]["count"], &json[0]["error_code"]), (&12.into(), &"auth.denied".into()));
}

/// Turns the terminal red, sets its title, hides, moves, and turns the direction of writing.
const EVIL: &str = "\u{1b}[31m\u{1b}]0;x\u{7}\u{9b}2J\r\u{8}\u{7f}\u{202e}\nError: fake";

fn hostile(state: &str) -> TransactionProperties {
    let row = PlanRow {
        package: EVIL.into(),
        arch: EVIL.into(),
        action: EVIL.into(),
        from: EVIL.into(),
        to: EVIL.into(),
        undo: "best-effort".into(),
        undo_why: EVIL.into(),
        ..PlanRow::default()
    };
    let step = StepRow { title: EVIL.into(), state: "failed".into(), error_code: EVIL.into(), text: EVIL.into(), ..StepRow::default() };
    TransactionProperties {
        state: state.into(),
        description: EVIL.into(),
        tags: vec![EVIL.into()],
        user: EVIL.into(),
        client: EVIL.into(),
        reverts: EVIL.into(),
        plan: vec![row],
        plan_digest: "d1".into(),
        plan_summary: EVIL.into(),
        plan_warnings: vec![EVIL.into()],
        method: EVIL.into(),
        steps: vec![step],
        phase: EVIL.into(),
        current_package: EVIL.into(),
        error_code: EVIL.into(),
        error_text: EVIL.into(),
        differences: vec![EVIL.into()],
        waits_for: EVIL.into(),
        actions: vec![EVIL.into()],
        ..TransactionProperties::default()
    }
}

const FILES: &str = r#"{"path":"/etc/a","change":"created","after":{"kind":"file","mode":"0644","uid":0,"gid":0,"size":12,"sha256":"ab"}}
{"path":"/etc/\u001b[2Jb","change":"removed","before":{"kind":"file","mode":"0600","uid":0,"gid":0,"size":5},"by_others":true}
"#;

#[test]
fn the_files_that_a_transaction_changed_are_shown() {
    let bus = Bus::start();
    let daemon = Daemon::start(&bus, Script { files: FILES, ..install() });
    run(&bus, "install -y hello");
    let shown = run(&bus, &format!("show {} --files", daemon.short()));
    let expected = "\
Change   By      Mode  Size    Path
created          0644  → 12 B  /etc/a
removed  others  0600  5 B →   /etc/\\x1b[2Jb
";
    assert_eq!((out(&shown), err(&shown)), (expected.to_owned(), String::new()));
    let json = run(&bus, &format!("show {} --files --json", daemon.short()));
    let rows: Vec<serde_json::Value> = FILES.lines().map(|line| serde_json::from_str(line).expect("a row")).collect();
    assert_eq!(serde_json::from_slice::<Vec<serde_json::Value>>(&json.stdout).expect("json"), rows);
}

#[test]
fn no_files_and_broken_ones_are_said_in_words() {
    let bus = Bus::start();
    let daemon = Daemon::start(&bus, install());
    run(&bus, "install -y hello");
    let none = run(&bus, &format!("show {} --files", daemon.short()));
    assert_eq!((out(&none).as_str(), none.status.code()), ("No file is recorded that it changed.\n", Some(0)));
    assert_eq!(out(&run(&bus, &format!("show {} --files --json", daemon.short()))), "[]\n");
    let bus = Bus::start();
    let daemon = Daemon::start(&bus, Script { files: "{\"path\":\n", ..install() });
    run(&bus, "install -y hello");
    let broken = run(&bus, &format!("show {} --files", daemon.short()));
    assert!(err(&broken).contains("the record of files is no JSON"), "{}", err(&broken));
    assert_eq!(broken.status.code(), Some(70));
}

#[test]
fn nothing_that_others_wrote_commands_the_terminal() {
    let bus = Bus::start();
    let run_of = vec![hostile("executing"), hostile("rolling-back"), hostile("partially-rolled-back")];
    let refused = (ErrorCode::AuthDenied, EVIL.to_owned());
    let after_cancel = vec![hostile("cancelled")];
    let log = EVIL.as_bytes().to_vec();
    let script = Script { planned: hostile("prepared"), run: run_of, after_cancel, cancel_outcome: "too-late", log, ..Script::default() };
    let daemon = Daemon::start(&bus, script);
    let check = |line: &str| {
        let output = run(&bus, line);
        let text = format!("{}{}", out(&output), err(&output));
        assert!(!text.is_empty(), "{line}");
        assert!(!text.chars().any(|c| (c.is_control() && c != '\n') || c == '\u{202e}'), "{line}: {text:?}");
        // A log is lines of others, and looks like one.
        let forged = text.lines().any(|line| line.starts_with("Error: fake"));
        assert!(!forged || line.starts_with("log"), "{line}: {text}");
    };
    check("install -y hello");
    for verb in ["show", "log", "watch", "--json show", "--json watch", "cancel"] {
        check(&format!("{verb} {}", daemon.id()));
    }
    for line in ["plan install hello", "list", "history", "history --denied", "status", "stats"] {
        check(line);
    }
    drop(daemon);
    let bus = Bus::start();
    let _daemon = Daemon::start(&bus, Script { refuse_execute: Some(refused), ..install() });
    for line in ["install -y hello", "--json install -y hello"] {
        let output = run(&bus, line);
        let text = format!("{}{}", out(&output), err(&output));
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{line}: {text:?}");
    }
    // What the person typed comes back in the error.
    let output = command(&bus).args(["install", EVIL]).output().expect("run");
    assert!(!err(&output).chars().any(|c| c.is_control() && c != '\n'), "{:?}", err(&output));
}
