package server

// stage is what has become of a request, beside the dedup.State of its number, which says whether
// its handler may still be called:
//
//	waiting ──doom──► doomed ──finish──► finished
//	   │ │                                  ▲ ▲
//	   │ └──────────────finish──────────────┘ │
//	   └──cancel──► canceled ──────finish─────┘
//
// It is waiting in the mailbox and while its handler runs. Nothing leads out of finished.
type stage uint8

const (
	waiting  stage = iota
	doomed         // its deadline passed before its turn, and WillNotRun has said so: it will not run
	canceled       // its caller cancelled while the handler ran
	finished       // it has its outcome
)

// user is who may still use the memory of a request.
type user uint8

const (
	byRecord  user = 1 << iota // of the session's table
	byHandler                  // of the application
)

// life is how far a request has come. The session's mu guards it.
type life struct {
	stage    stage
	begun    bool // its record is in the store, or is being written there
	released user // who does not use its memory any more
}

func (l *life) doom() {
	if l.stage == waiting {
		l.stage = doomed
	}
}

func (l *life) cancel() {
	if l.stage == waiting {
		l.stage = canceled
	}
}

func (l *life) finish()         { l.stage = finished }
func (l *life) finished() bool  { return l.stage == finished }
func (l *life) release(by user) { l.released |= by }

// unused reports whether another request may have the memory: who sends the outcome once more needs
// the record.
func (l *life) unused() bool { return l.finished() && l.released == byRecord|byHandler }
