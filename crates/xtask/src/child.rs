//! A child process whose output is shown and kept, and which may not run for ever. What stands for a secret is nowhere in that output, or it has failed.

use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::canary;

/// What a child left behind.
pub(crate) struct Finished {
    pub(crate) success: bool,
    /// Both streams, line by line, as they came.
    pub(crate) lines: Vec<String>,
}

/// Runs the command, shows its output as it comes, and stops it after `limit`.
pub(crate) fn run(command: &mut Command, limit: Duration) -> Result<Finished> {
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .env(canary::VARIABLE, canary::word())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {program}"))?;
    let (sender, receiver) = mpsc::channel();
    let streams = [child.stdout.take().map(boxed), child.stderr.take().map(boxed)];
    for stream in streams.into_iter().flatten() {
        let sender = sender.clone();
        thread::spawn(move || forward(stream, &sender));
    }
    drop(sender);
    let deadline = Instant::now() + limit;
    let lines = collect(&receiver, deadline);
    let Some(status) = wait(&mut child, deadline)? else {
        bail!("{program} was stopped after {} s", limit.as_secs());
    };
    let sang = lines.iter().filter(|line| canary::sings(line)).count();
    if sang > 0 {
        println!("FAILED: {program}: {sang} lines of its output hold what stands for a secret");
    }
    Ok(Finished { success: status.success() && sang == 0, lines })
}

fn boxed(stream: impl Read + Send + 'static) -> Box<dyn Read + Send> {
    Box::new(stream)
}

fn forward(stream: Box<dyn Read + Send>, sender: &mpsc::Sender<String>) {
    for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
        if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
            return;
        }
    }
}

/// Shows and keeps lines until both streams are closed or time is up.
fn collect(receiver: &mpsc::Receiver<String>, deadline: Instant) -> Vec<String> {
    let mut lines = Vec::new();
    while let Ok(line) = receiver.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        println!("{line}");
        lines.push(line);
    }
    lines
}

/// The child's status; none when it had to be stopped.
fn wait(child: &mut Child, deadline: Instant) -> Result<Option<ExitStatus>> {
    if let Some(status) = wait_until(child, deadline)? {
        return Ok(Some(status));
    }
    // A test runner that is asked to end stops its tests too; one that is killed leaves them behind.
    Command::new("kill").arg(child.id().to_string()).status().context("cannot start kill")?;
    if wait_until(child, Instant::now() + Duration::from_secs(15))?.is_none() {
        child.kill()?;
        child.wait()?;
    }
    Ok(None)
}

fn wait_until(child: &mut Child, deadline: Instant) -> Result<Option<ExitStatus>> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(20));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn keeps_both_streams_and_the_verdict() {
        let finished = run(&mut sh("echo out; echo err >&2; exit 3"), Duration::from_secs(60)).unwrap();
        let mut lines = finished.lines;
        lines.sort();
        assert_eq!(lines, ["err", "out"]);
        assert!(!finished.success);
    }

    #[test]
    fn a_child_that_prints_a_secret_has_failed() {
        let lines = "echo $NUNCIO_CANARY; printf %s $NUNCIO_CANARY | od -An -tx1 -w64 | tr -d ' '";
        for quiet in ["", " >/dev/null"] {
            let finished = run(&mut sh(&format!("{{ {lines}; }}{quiet}")), Duration::from_secs(60)).unwrap();
            assert_eq!(finished.success, !quiet.is_empty());
        }
    }

    #[test]
    fn a_child_that_does_not_end_is_stopped() {
        let error = run(&mut sh("exec sleep 600"), Duration::from_millis(100)).map(|_| ()).unwrap_err();
        assert_eq!(error.to_string(), "sh was stopped after 0 s");
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = run(&mut Command::new("no-such-program-here"), Duration::from_secs(1)).map(|_| ()).unwrap_err();
        assert_eq!(error.to_string(), "cannot start no-such-program-here");
    }
}
