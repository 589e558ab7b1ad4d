"""Everything that can go wrong, in one tree.

    CrossfadeError
    ├── UsageError              exit 1   the command line or the configuration is wrong
    │   ├── LocationInvalid     CF101    a store's URL cannot be understood
    │   ├── LayoutInvalid       CF102    a layout file has a bad rule
    │   ├── OptionInvalid       CF103    an option or argument has an impossible value
    │   ├── MigrationUnknown    CF104    no migration with that id, or several
    │   └── CodeUnknown         CF105    ``explain`` was asked for a code that does not exist
    ├── Failed                  exit 2   nothing is lost; the message says what to do
    │   ├── SourceMissing       CF201    the source does not exist, or is not a directory
    │   ├── Unreadable          CF202    something in the source cannot be read
    │   ├── TargetUnreachable   CF203    the server does not answer
    │   ├── TargetDenied        CF204    wrong password, or a right that is missing
    │   ├── TargetUnfit         CF205    too old, not UTF8, or of a newer schema version
    │   ├── TargetUnwritable    CF206    the target directory or database is read-only
    │   ├── DiskFull            CF207    no space left, on either side
    │   ├── BudgetSpent         CF208    more items in quarantine than the error budget allows
    │   ├── EmbeddedFailed      CF209    the embedded PostgreSQL did not start
    │   ├── ServerRefused       CF210    the server refused a statement for good
    │   ├── WorkerDied          CF211    a worker process ended without a word
    │   ├── TlsFailed           CF212    the connection would not be as safe as sslmode asks
    │   ├── Unforeseen          CF213    a mistake in crossfade itself
    │   ├── NotReached          CF214    a phase was waited for, and not reached
    │   └── OutputLost          CF215    what was to be shown could not be written
    ├── Different               exit 3
    │   ├── ContentDiffers      CF301    the target is not what the source is
    │   └── JournalBroken       CF302    a line of the journal was edited, removed, reordered or cut off
    ├── Held                    exit 5
    │   └── RunnerActive        CF501    another runner holds this migration
    ├── Unfinished              exit 6
    │   ├── Interrupted         CF601    stopped by a signal; every position is recorded
    │   └── SourceMoved         CF602    the source changed under a one-shot copy
    ├── Refused                 exit 7   a gate is not met, or the phase does not allow it
    │   ├── PlanDiffers         CF701    this migration was started with another plan
    │   ├── TargetTaken         CF702    the target holds another store's data
    │   ├── TargetForeign       CF703    a non-empty directory of a stranger, or a path changed since we wrote it
    │   ├── NotYet              CF704    a verb or mode that this release does not have
    │   ├── Fenced              CF705    this runner was replaced; its page is not applied
    │   ├── Entangled           CF706    the target lies inside the source, or contains it
    │   ├── Removed             CF707    so much is gone from the source that a person must say it is meant
    │   ├── PhaseForbids        CF708    the migration's phase does not allow this verb
    │   └── GateShut            CF709    a gate of the hand-over is not met; nothing was changed
    └── SourceEmpty             CF801    exit 8   the source root holds no entry at all

Each leaf has a code, an exit status (docs/reference/errors.md), whether trying again can help, and a paragraph for
``crossfade explain``. An instance adds one plain sentence and a ``try:`` line. Neither ever quotes a password or the
content of a record.
"""

from __future__ import annotations

from typing import ClassVar, Literal

AGAIN = "the same command again"  # a hint that begins so is told with what was typed in its place
Retry = Literal["never", "later", "exhausted"]


class CrossfadeError(Exception):
    """A failure written for the person who reads it: *sentence* says what, *hint* what to type next.

    ``head`` is the journal's, where the failure stands in one.
    """

    code: ClassVar[str] = ""
    exit: ClassVar[int] = 2
    retry: ClassVar[Retry] = "never"
    meaning: ClassVar[str] = ""

    def __init__(self, sentence: str, *, hint: str) -> None:
        super().__init__(sentence, hint)
        self.sentence = sentence
        self.hint = hint
        self.head = ""

    def __str__(self) -> str:
        return self.sentence

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.sentence, self.hint))


def _rebuild(kind: type[CrossfadeError], sentence: str, hint: str) -> CrossfadeError:
    """Errors cross process borders; keyword-only arguments do not survive the default pickling."""
    return kind(sentence, hint=hint)


class UsageError(CrossfadeError):
    exit = 1


class LocationInvalid(UsageError):
    code = "CF101"
    meaning = (
        "A store is named by a path, or by a URL: file:///path, postgresql://host/db, embedded:///path, memory:. "
        "For a database, ?schema=NAME chooses the schema (default: crossfade) and ?store=NAME one of several trees in it."
    )


class LayoutInvalid(UsageError):
    code = "CF102"
    meaning = (
        "A layout is a TOML file of ordered rules; the first rule that matches a path wins. The message names the file and "
        "the line of the rule that cannot work. `crossfade layouts show prodigy` prints one that does."
    )


class OptionInvalid(UsageError):
    code = "CF103"
    meaning = "An option or argument has a value that cannot be used. `crossfade VERB --help` lists what each one takes."


class MigrationUnknown(UsageError):
    code = "CF104"
    meaning = (
        "A migration is found by its id or its unique beginning, or by SOURCE TARGET; with one in sight, by nothing. "
        "Sought in: --store URL, else CROSSFADE_STORE, else the migrations this user started on this machine. "
        "From another host, name the database with --store."
    )


class CodeUnknown(UsageError):
    code = "CF105"
    meaning = "Every error begins with its code, like CF203. `crossfade explain` without a code lists them all."


class Failed(CrossfadeError):
    exit = 2


class SourceMissing(Failed):
    code = "CF201"
    meaning = "The source has to be a directory that exists, or a database that already holds a crossfade store."


class Unreadable(Failed):
    code = "CF202"
    meaning = (
        "Something in the source could not be read (permission, I/O error). crossfade stops, because leaving it out in silence "
        "would lose it. Mend the permission and give the same command again, or take everything else along with "
        "--skip-unreadable: that run ends with exit 4 and names what it left."
    )


class TargetUnreachable(Failed):
    code = "CF203"
    retry = "exhausted"
    meaning = (
        "The server did not answer, and went on not answering until the deadline. What was committed stays committed; "
        "the same command continues when the server is back."
    )


class TargetDenied(Failed):
    code = "CF204"
    meaning = (
        "The server answered, and said no: a wrong password, or a right that the role does not have. Passwords are taken from "
        "PGPASSFILE, PGSERVICE or PGPASSWORD. `crossfade schema --sql` prints the DDL and the GRANTs that a DBA can run."
    )


class TargetUnfit(Failed):
    code = "CF205"
    meaning = (
        "The database cannot be used as it is: PostgreSQL older than 14, an encoding other than UTF8 (a file name or record "
        "could not be kept), a crossfade schema written by a newer release, or an entry that was edited into what is no path. "
        "Nor can files beside which a newer release has written who decides about them."
    )


class TargetUnwritable(Failed):
    code = "CF206"
    meaning = (
        "The target does not accept writes: a read-only directory, file system or database, a standby; or a part of a tree is mounted "
        "by itself, or another account's, which sets its modes. Files that hand over are written, too: they follow. Nothing was changed."
    )


class DiskFull(Failed):
    code = "CF207"
    retry = "exhausted"
    meaning = (
        "No space is left on the target, and it did not clear within the deadline. Nothing is lost: free some space and give "
        "the same command again. `crossfade plan` estimates the space that is needed."
    )


class BudgetSpent(Failed):
    code = "CF208"
    meaning = (
        "More items went to quarantine than --error-budget allows (default: 0.1 % and 100 items), or --fail-fast met the first. "
        "Their bytes are kept. `crossfade quarantine ID list` names them; the same command with a larger budget goes on."
    )


class EmbeddedFailed(Failed):
    code = "CF209"
    meaning = (
        "The PostgreSQL that crossfade runs itself did not start or stop. Its log is in the embedded directory. "
        "`crossfade doctor` lists servers that nobody uses any more, and stops them."
    )


class ServerRefused(Failed):
    code = "CF210"
    meaning = (
        "The server refused a statement, and trying again would not help. Only SQLSTATE, constraint and line are shown: "
        "a server's own message may quote the record."
    )


class WorkerDied(Failed):
    code = "CF211"
    retry = "later"
    meaning = "A worker process ended without a word (killed, or out of memory). Its page was rolled back; nothing is lost."


class TlsFailed(Failed):
    code = "CF212"
    meaning = (
        "The connection would not be what sslmode asks for: the server speaks no TLS, its certificate is another host's, of no "
        "authority that sslrootcert names, or out of date; or it wants a client certificate and was not shown one that it trusts. "
        "No record and no password was sent; nothing is tried again. docs/guide/tls.md has the modes and the files."
    )


class Unforeseen(Failed):
    code = "CF213"
    meaning = (
        "A mistake in crossfade itself. What was committed stays committed, and the same command may go on; please report the lines "
        "that begin with `at`. They name places in the program and nothing else: the message of such an error may quote a record."
    )


class NotReached(Failed):
    code = "CF214"
    retry = "later"
    meaning = (
        "`crossfade status --wait-for` waits for a phase. It was not reached within --timeout, or cannot be reached any more. "
        "The message says which phase it is in, and why, or that the database did not answer. Nothing was changed by waiting."
    )


class OutputLost(Failed):
    code = "CF215"
    meaning = "What a verb had to show could not be written: the disk is full, say. Whatever it has done stands."


class Different(CrossfadeError):
    exit = 3


class ContentDiffers(Different):
    code = "CF301"
    meaning = (
        "The validation that a copy ends with found that the target is not what the source is: other bytes, modes, times, "
        "promoted columns, or answers; or bytes are not what their digest says. The report names each path, and what differs "
        "first. Nothing is repaired without being asked: `crossfade validate SOURCE TARGET --repair`."
    )


class JournalBroken(Different):
    code = "CF302"
    meaning = (
        "The journal's hashes do not lead from its first line to its last, or not to the head that was named: somebody edited, "
        "removed, reordered or cut off lines by SQL. The message names the first line that is wrong. The data are not concerned: "
        "`crossfade validate` proves them. docs/recovery.md says what to do."
    )


class Held(CrossfadeError):
    exit = 5


class RunnerActive(Held):
    code = "CF501"
    retry = "later"
    meaning = (
        "One runner at a time works on a migration. The holder's host and process are named. A dead one on this machine is "
        "replaced at once; a silent one elsewhere after its lease of 15 seconds."
    )


class Unfinished(CrossfadeError):
    exit = 6


class Interrupted(Unfinished):
    code = "CF601"
    retry = "later"
    meaning = (
        "Ctrl-C or SIGTERM: the page was finished, its position recorded. The command in the `try:` line goes on. "
        "A run that follows ends with 0 on SIGTERM."
    )


class SourceMoved(Unfinished):
    code = "CF602"
    retry = "later"
    meaning = (
        "Each entry was taken in one untorn state, but some changed before the copy ended, so the target is behind the source. "
        "The paths are named. Give the same command again to bring the changes over."
    )


class Refused(CrossfadeError):
    exit = 7


class PlanDiffers(Refused):
    code = "CF701"
    meaning = (
        "A migration's identity is its source, its target, its layout and its transient rule. This one was started with another. "
        "Repeat the original command, or use another --store-name (or an empty target) for the new plan. "
        "Workers, rates and sizes are no part of the plan and may change at will; kinds may be added with --add."
    )


class TargetTaken(Refused):
    code = "CF702"
    meaning = (
        "The target schema already holds a store of this name that came from another source. "
        "Several trees may share a schema: give this one its own --store-name."
    )


class TargetForeign(Refused):
    code = "CF703"
    meaning = (
        "The target directory holds files that this migration did not write, or that were changed since it wrote them. "
        "--merge keeps strangers beside what is restored; --delete-extra removes them; neither overwrites a changed path."
    )


class NotYet(Refused):
    code = "CF704"
    meaning = "This release does not have that verb or mode yet. CHANGELOG.md says what each release brings."


class Fenced(Refused):
    code = "CF705"
    meaning = (
        "Another runner took this migration over while this one was stopped or cut off. "
        "Its page was refused, nothing was applied twice. Look at the other runner with `crossfade status`."
    )


class Entangled(Refused):
    code = "CF706"
    meaning = "Source and target must not contain one another: the copy would copy itself."


class Removed(Refused):
    code = "CF707"
    meaning = (
        "A source lost so many files, or its whole root, or a volume that was mounted below it, that an unmounted or fresh volume "
        "is more likely than a deletion; or a restore of it was not finished. Nothing of that was removed from the target. Mount "
        "the volume, or fill it again with `crossfade restore`, and give the command again; if the removal is meant, with "
        "--allow-removals."
    )


class PhaseForbids(Refused):
    code = "CF708"
    meaning = (
        "Each verb has phases in which it makes sense: a migration that was cut over cannot be copied once more, and one that "
        "is finished has no way back. The message says which phase it is in; `crossfade status ID` says what to type next. "
        "`validate --repair` mends the side that does not decide: of two that have no migration in common, none is known not to."
    )


class GateShut(Refused):
    code = "CF709"
    meaning = (
        "Authority changes hands only when both sides are in step, all of it is verified, quarantine and drift are dealt with, "
        "the reverse stream is prepared and no writer is left. The message names the gate that is not met. Nothing was "
        "changed, and following goes on. While one order stands, no other is given. `cutover ID --dry-run` shows every gate."
    )


class SourceEmpty(CrossfadeError):
    code = "CF801"
    exit = 8
    meaning = (
        "The source root holds no entry at all. That is usually a volume that is not mounted or a mistyped path, "
        "so nothing is changed in the target. --allow-empty says that it is meant, for a first copy; where something was brought "
        "before, which would go, --allow-removals does, for `validate --repair` as well."
    )


def every_code() -> dict[str, type[CrossfadeError]]:
    """All leaves of the tree, by code, in order."""
    found: dict[str, type[CrossfadeError]] = {}
    pending: list[type[CrossfadeError]] = [CrossfadeError]
    while pending:
        current = pending.pop()
        pending.extend(current.__subclasses__())
        if current.code:
            found[current.code] = current
    return dict(sorted(found.items()))
