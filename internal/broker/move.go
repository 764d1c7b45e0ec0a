package broker

import "context"

func (b *Broker) answerMoves() error           { return nil }
func (b *Broker) moveIn(context.Context) error { return nil }
